"""Epochs: what was put under one root, and how far its anchor has come. Only batch.py and publish.py write here."""

import sqlalchemy as sa

from commonhold.db import metadata

epoch = sa.Table(
    "epoch",
    metadata,
    sa.Column("submitter", sa.LargeBinary(20), primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False, comment="as on chain: 0, 1, 2, ..."),
    sa.Column("state", sa.String(16), nullable=False, comment="how far it has come; see publish.py"),
    sa.Column("root", sa.LargeBinary(32), nullable=False),
    sa.Column("count", sa.BigInteger, nullable=False, comment="leaves"),
    sa.Column("gpu_ms", sa.BigInteger, nullable=False, comment="what it adds to the highest totals of its leases"),
    sa.Column("data", sa.LargeBinary, nullable=False, comment="the published bytes: canonical JSON"),
    sa.Column("closed_at", sa.BigInteger, nullable=False, comment="Unix seconds"),
    sa.Column("uri", sa.String, nullable=True, comment="null: nothing was tried to be sent yet"),
    sa.Column("transaction_hash", sa.LargeBinary(32), nullable=True, comment="null: not sent, or died while sending"),
    sa.CheckConstraint("state IN ('frozen', 'sending', 'sent', 'anchored', 'final')", name="state"),
    sa.CheckConstraint("(state = 'frozen') = (uri IS NULL)", name="intent"),
    sa.CheckConstraint("count > 0 AND gpu_ms >= 0 AND number >= 0", name="numbers"),
)

# Each segment and receipt is in one epoch. What has no row here is open: the next epoch takes it.
leaf = sa.Table(
    "leaf",
    metadata,
    sa.Column("digest", sa.LargeBinary(32), primary_key=True, comment="of a segment or receipt"),
    sa.Column("kind", sa.Integer, sa.CheckConstraint("kind IN (1, 2)", name="kind"), nullable=False),
    sa.Column("submitter", sa.LargeBinary(20), nullable=False),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("lease", sa.LargeBinary(32), nullable=False),
    sa.Column("gpu_ms", sa.BigInteger, nullable=False),
    sa.ForeignKeyConstraint(["submitter", "number"], ["epoch.submitter", "epoch.number"]),
    sa.Index("ix_leaf_submitter_number", "submitter", "number"),
    sa.Index("ix_leaf_lease_gpu_ms", "lease", "gpu_ms"),
)
