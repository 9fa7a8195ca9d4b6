"""meter: segments, evidence against their nodes, gaps, receipts"""

import sqlalchemy as sa
from alembic import op

revision = "0003_meter"
down_revision = "0002_access"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "segment",
        sa.Column("asset", sa.LargeBinary(32), nullable=False),
        sa.Column("boot", sa.BigInteger, nullable=False, comment="Unix ms"),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("lease", sa.LargeBinary(32), nullable=False),
        sa.Column("previous", sa.LargeBinary(32), nullable=False),
        sa.Column("head", sa.LargeBinary(32), nullable=False),
        sa.Column("started_at_ms", sa.BigInteger, nullable=False),
        sa.Column("ended_at_ms", sa.BigInteger, nullable=False),
        sa.Column("gpu_ms", sa.BigInteger, nullable=False, comment="total of the lease at its end"),
        sa.Column("readings", sa.LargeBinary, nullable=False, comment="16 bytes each: segment.pack"),
        sa.Column("digest", sa.LargeBinary(32), nullable=False, comment="what was signed, SHA-256"),
        sa.Column("signature", sa.LargeBinary(64), nullable=False),
        sa.Column("level", sa.Integer, nullable=False, comment="of the appraisal that covers it"),
        sa.Column("policy", sa.String, nullable=False, comment="of that appraisal"),
        sa.Column("received_at", sa.BigInteger, nullable=False, comment="Unix seconds"),
        sa.PrimaryKeyConstraint("asset", "boot", "sequence"),
        sa.UniqueConstraint("digest"),
        sa.UniqueConstraint("lease", "previous", name="one_next"),
        sa.UniqueConstraint("asset", "ended_at_ms", name="one_end"),
        sa.CheckConstraint("boot <= started_at_ms AND started_at_ms < ended_at_ms", name="times"),
        sa.CheckConstraint("sequence >= 0 AND gpu_ms >= 0", name="not_negative"),
        sa.CheckConstraint("length(readings) > 0 AND length(readings) % 16 = 0", name="whole_readings"),
    )
    op.create_index("ix_segment_lease_ended_at_ms", "segment", ["lease", "ended_at_ms"])
    op.create_table(
        "equivocation",
        sa.Column("digest", sa.LargeBinary(32), nullable=False, comment="of the segment that was not taken"),
        sa.Column("taken", sa.LargeBinary(32), nullable=False, index=True),
        sa.Column("asset", sa.LargeBinary(32), nullable=False, index=True),
        sa.Column("what", sa.String(16), nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False, comment="the segment's JSON, as signed"),
        sa.Column("received_at", sa.BigInteger, nullable=False, comment="Unix seconds"),
        sa.PrimaryKeyConstraint("digest"),
        sa.ForeignKeyConstraint(["taken"], ["segment.digest"]),
        sa.CheckConstraint("what IN ('key', 'chain')", name="what"),
        sa.CheckConstraint("digest <> taken", name="differs"),
    )
    op.create_table(
        "gap",
        sa.Column("asset", sa.LargeBinary(32), nullable=False),
        sa.Column("boot", sa.BigInteger, nullable=False),
        sa.Column("first_missing", sa.BigInteger, nullable=False, comment="sequence"),
        sa.Column("last_missing", sa.BigInteger, nullable=False, comment="sequence"),
        sa.Column("from_ms", sa.BigInteger, nullable=False, comment="end of the segment before; else the boot"),
        sa.Column("until_ms", sa.BigInteger, nullable=False, comment="start of the segment after"),
        sa.PrimaryKeyConstraint("asset", "boot", "first_missing"),
        sa.CheckConstraint("first_missing <= last_missing AND from_ms <= until_ms", name="order"),
    )
    op.create_table(
        "node",
        sa.Column("asset", sa.LargeBinary(32), nullable=False),
        sa.Column("heard_at", sa.BigInteger, nullable=False, comment="Unix seconds"),
        sa.PrimaryKeyConstraint("asset"),
    )
    op.create_table(
        "receipt",
        sa.Column("lease", sa.LargeBinary(32), nullable=False),
        sa.Column("gpu_ms", sa.BigInteger, nullable=False, comment="total of the lease"),
        sa.Column("head", sa.LargeBinary(32), nullable=False),
        sa.Column("node_signature", sa.LargeBinary(64), nullable=False),
        sa.Column("session_signature", sa.LargeBinary(64), nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False, comment="what was signed, SHA-256"),
        sa.Column("received_at", sa.BigInteger, nullable=False, comment="Unix seconds"),
        sa.PrimaryKeyConstraint("lease", "gpu_ms"),
        sa.UniqueConstraint("digest"),
        sa.CheckConstraint("gpu_ms >= 0", name="gpu_ms"),
    )
    op.create_table(
        "settlement",
        sa.Column("lease", sa.LargeBinary(32), nullable=False),
        sa.Column("gpu_ms", sa.BigInteger, nullable=False, comment="total of the lease"),
        sa.Column("block_number", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("lease"),
    )


def downgrade() -> None:
    for table in ("settlement", "receipt", "node", "gap", "equivocation", "segment"):
        op.drop_table(table)
