"""anchor: epochs, and which segment and receipt is in which"""

import sqlalchemy as sa
from alembic import op

revision = "0004_anchor"
down_revision = "0003_meter"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "epoch",
        sa.Column("submitter", sa.LargeBinary(20), nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False, comment="as on chain: 0, 1, 2, ..."),
        sa.Column("state", sa.String(16), nullable=False, comment="how far it has come; see publish.py"),
        sa.Column("root", sa.LargeBinary(32), nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False, comment="leaves"),
        sa.Column("gpu_ms", sa.BigInteger, nullable=False, comment="what it adds to the highest totals of its leases"),
        sa.Column("data", sa.LargeBinary, nullable=False, comment="the published bytes: canonical JSON"),
        sa.Column("closed_at", sa.BigInteger, nullable=False, comment="Unix seconds"),
        sa.Column("uri", sa.String, nullable=True, comment="null: nothing was tried to be sent yet"),
        sa.Column(
            "transaction_hash",
            sa.LargeBinary(32),
            nullable=True,
            comment="null: not sent, or died while sending",
        ),
        sa.PrimaryKeyConstraint("submitter", "number"),
        sa.CheckConstraint("state IN ('frozen', 'sending', 'sent', 'anchored', 'final')", name="state"),
        sa.CheckConstraint("(state = 'frozen') = (uri IS NULL)", name="intent"),
        sa.CheckConstraint("count > 0 AND gpu_ms >= 0 AND number >= 0", name="numbers"),
    )
    op.create_table(
        "leaf",
        sa.Column("digest", sa.LargeBinary(32), nullable=False, comment="of a segment or receipt"),
        sa.Column("kind", sa.Integer, nullable=False),
        sa.Column("submitter", sa.LargeBinary(20), nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("lease", sa.LargeBinary(32), nullable=False),
        sa.Column("gpu_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("digest"),
        sa.CheckConstraint("kind IN (1, 2)", name="kind"),
        sa.ForeignKeyConstraint(["submitter", "number"], ["epoch.submitter", "epoch.number"]),
    )
    op.create_index("ix_leaf_submitter_number", "leaf", ["submitter", "number"])
    op.create_index("ix_leaf_lease_gpu_ms", "leaf", ["lease", "gpu_ms"])


def downgrade() -> None:
    op.drop_table("leaf")
    op.drop_table("epoch")
