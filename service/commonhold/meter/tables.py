"""What nodes and developers signed about the time that was used. record.py and gaps.py write here, and rewrite nothing
that was signed; settle.py has a table of its own.

There are no foreign keys to the mirror: a reorg takes rows away for a moment, and what was signed stays signed.
"""

import sqlalchemy as sa

from commonhold.db import U256, metadata

segment = sa.Table(
    "segment",
    metadata,
    sa.Column("asset", U256, primary_key=True),
    sa.Column("boot", sa.BigInteger, primary_key=True, autoincrement=False, comment="Unix ms"),
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("lease", sa.LargeBinary(32), nullable=False),
    sa.Column("previous", sa.LargeBinary(32), nullable=False),
    sa.Column("head", sa.LargeBinary(32), nullable=False),
    sa.Column("started_at_ms", sa.BigInteger, nullable=False),
    sa.Column("ended_at_ms", sa.BigInteger, nullable=False),
    sa.Column("gpu_ms", sa.BigInteger, nullable=False, comment="total of the lease at its end"),
    sa.Column("readings", sa.LargeBinary, nullable=False, comment="16 bytes each: segment.pack"),
    sa.Column("digest", sa.LargeBinary(32), nullable=False, unique=True, comment="what was signed, SHA-256"),
    sa.Column("signature", sa.LargeBinary(64), nullable=False),
    sa.Column("level", sa.Integer, nullable=False, comment="of the appraisal that covers it"),
    sa.Column("policy", sa.String, nullable=False, comment="of that appraisal"),
    sa.Column("received_at", sa.BigInteger, nullable=False, comment="Unix seconds"),
    sa.UniqueConstraint("lease", "previous", name="one_next"),  # a chain does not fork
    sa.UniqueConstraint("asset", "ended_at_ms", name="one_end"),
    sa.Index("ix_segment_lease_ended_at_ms", "lease", "ended_at_ms"),
    sa.Index("ix_segment_lease_head", "lease", "head"),
    sa.CheckConstraint("boot <= started_at_ms AND started_at_ms < ended_at_ms", name="times"),
    sa.CheckConstraint("sequence >= 0 AND gpu_ms >= 0", name="not_negative"),
    sa.CheckConstraint("length(readings) > 0 AND length(readings) % 16 = 0", name="whole_readings"),
)

# A second, different segment under a key, or on a place of a chain, that was taken: both are kept, as evidence.
equivocation = sa.Table(
    "equivocation",
    metadata,
    sa.Column("digest", sa.LargeBinary(32), primary_key=True, comment="of the segment that was not taken"),
    sa.Column("taken", sa.LargeBinary(32), sa.ForeignKey(segment.c.digest), nullable=False, index=True),
    sa.Column("asset", U256, nullable=False, index=True),
    sa.Column("what", sa.String(16), sa.CheckConstraint("what IN ('key', 'chain')", name="what"), nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False, comment="the segment's JSON, as signed"),
    sa.Column("received_at", sa.BigInteger, nullable=False, comment="Unix seconds"),
    sa.CheckConstraint("digest <> taken", name="differs"),
)

# Sequence numbers that were skipped: unmetered time is neither paid nor taken for idle. A late segment shrinks its gap.
gap = sa.Table(
    "gap",
    metadata,
    sa.Column("asset", U256, primary_key=True),
    sa.Column("boot", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("first_missing", sa.BigInteger, primary_key=True, autoincrement=False, comment="sequence"),
    sa.Column("last_missing", sa.BigInteger, nullable=False, comment="sequence"),
    sa.Column("from_ms", sa.BigInteger, nullable=False, comment="end of the segment before; else the boot"),
    sa.Column("until_ms", sa.BigInteger, nullable=False, comment="start of the segment after"),
    sa.CheckConstraint("first_missing <= last_missing AND from_ms <= until_ms", name="order"),
)

# One row a node. Taking it serialises the writers of that node, and tells when it was last heard.
node = sa.Table(
    "node",
    metadata,
    sa.Column("asset", U256, primary_key=True),
    sa.Column("heard_at", sa.BigInteger, nullable=False, comment="Unix seconds"),
)

receipt = sa.Table(
    "receipt",
    metadata,
    sa.Column("lease", sa.LargeBinary(32), primary_key=True),
    sa.Column("gpu_ms", sa.BigInteger, primary_key=True, autoincrement=False, comment="total of the lease"),
    sa.Column("head", sa.LargeBinary(32), nullable=False),
    sa.Column("node_signature", sa.LargeBinary(64), nullable=False),
    sa.Column("session_signature", sa.LargeBinary(64), nullable=False),
    sa.Column("digest", sa.LargeBinary(32), nullable=False, unique=True, comment="what was signed, SHA-256"),
    sa.Column("received_at", sa.BigInteger, nullable=False, comment="Unix seconds"),
    sa.CheckConstraint("gpu_ms >= 0", name="gpu_ms"),
)

# What we sent to be settled: until the mirror is at that block, it cannot show it. What was refused is put off
# likewise.
settlement = sa.Table(
    "settlement",
    metadata,
    sa.Column("lease", sa.LargeBinary(32), primary_key=True),
    sa.Column("gpu_ms", sa.BigInteger, nullable=False, comment="total of the lease"),
    sa.Column("block_number", sa.BigInteger, nullable=False),
)
