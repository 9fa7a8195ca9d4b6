"""mirror: the chain's events, and the rows that follow from them"""

import sqlalchemy as sa
from alembic import op

revision = "0001_mirror"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "cursor",
        sa.Column("id", sa.Integer, sa.CheckConstraint("id = 1", name="single"), primary_key=True),
        sa.Column("chain_id", sa.BigInteger, nullable=False),
        sa.Column("deployment", sa.LargeBinary(32), nullable=False, comment="hash of the deployment's addresses"),
        sa.Column("number", sa.BigInteger, nullable=False, comment="last block applied"),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.Column("timestamp", sa.BigInteger, nullable=False, comment="of that block, Unix seconds"),
        sa.Column("finalized", sa.BigInteger, nullable=False, comment="no rewind goes below this block"),
    )
    op.create_table(
        "block",
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False, unique=True),
        sa.Column("parent", sa.LargeBinary(32), nullable=False),
        sa.Column("timestamp", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "event",
        sa.Column("block_number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("log_index", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("block_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("transaction_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("contract", sa.String(16), nullable=False),
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("topics", sa.LargeBinary, nullable=False, comment="concatenated, 32 bytes each"),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "journal",
        sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("block_number", sa.BigInteger, nullable=False, index=True),
        sa.Column("table_name", sa.String(32), nullable=False),
        sa.Column("key", sa.LargeBinary, nullable=False, comment="canonical JSON of the primary key"),
        sa.Column(
            "old", sa.LargeBinary, nullable=True, comment="canonical JSON of the row before; null: there was none"
        ),
    )
    op.create_table(
        "member",
        sa.Column("address", sa.LargeBinary(20), primary_key=True),
        sa.Column("nullifier", sa.LargeBinary(32), nullable=False, unique=True),
        sa.Column("controller", sa.LargeBinary(20), nullable=True, comment="null: nobody controls it"),
        sa.Column("root", sa.LargeBinary(20), nullable=False, index=True, comment="the group it counts in"),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "asset_class",
        sa.Column("class_id", sa.LargeBinary(32), primary_key=True),
        sa.Column("name", sa.String, nullable=False, unique=True),
        sa.Column("kind", sa.Integer, sa.CheckConstraint("kind IN (0, 1, 2)", name="kind"), nullable=False),
        sa.Column("unit", sa.String, nullable=False),
        sa.Column("hold_bps", sa.Integer, nullable=False),
        sa.Column("use_bps", sa.Integer, nullable=False),
        sa.Column("min_level", sa.Integer, nullable=False),
        sa.Column("floor_units", sa.BigInteger, nullable=False),
        sa.Column("total_units", sa.BigInteger, sa.CheckConstraint("total_units >= 0", name="total"), nullable=False),
    )
    op.create_table(
        "asset",
        sa.Column("asset", sa.LargeBinary(32), primary_key=True),
        sa.Column("class_id", sa.LargeBinary(32), sa.ForeignKey("asset_class.class_id"), nullable=False, index=True),
        sa.Column("operator", sa.LargeBinary(20), nullable=False),
        sa.Column("units", sa.BigInteger, nullable=False),
        sa.Column("level", sa.Integer, nullable=False),
        sa.Column("policy", sa.String, nullable=False, comment='the appraisal policy, "development" included'),
        sa.Column("content_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("result_hash", sa.LargeBinary(32), nullable=False),
        sa.Column(
            "meter_key", sa.LargeBinary(64), nullable=True, comment="x || y of the node's P-256 key; null: no node"
        ),
        sa.Column(
            "appraised_at", sa.BigInteger, nullable=False, comment="timestamp of the block of the last appraisal"
        ),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("uri", sa.String, nullable=False),
    )
    op.create_table(
        "device",
        sa.Column("device", sa.LargeBinary(32), primary_key=True, comment="commitment to the device's identity"),
        sa.Column("asset", sa.LargeBinary(32), sa.ForeignKey("asset.asset"), nullable=False, index=True),
    )
    op.create_table(
        "holding",
        sa.Column("asset", sa.LargeBinary(32), sa.ForeignKey("asset.asset"), primary_key=True),
        sa.Column("owner", sa.LargeBinary(20), primary_key=True, index=True),
        sa.Column("units", sa.BigInteger, sa.CheckConstraint("units > 0", name="positive"), nullable=False),
    )
    op.create_table(
        "offer",
        sa.Column("credit_id", sa.LargeBinary(32), primary_key=True),
        sa.Column("asset", sa.LargeBinary(32), sa.ForeignKey("asset.asset"), nullable=False, index=True),
        sa.Column("window", sa.BigInteger, nullable=False),
        sa.Column("tranche", sa.BigInteger, nullable=False),
        sa.Column(
            "price_wei", sa.LargeBinary(32), nullable=False, comment="per second of one unit; 0: granted, not sold"
        ),
    )
    op.create_table(
        "credit",
        sa.Column("credit_id", sa.LargeBinary(32), sa.ForeignKey("offer.credit_id"), primary_key=True),
        sa.Column("holder", sa.LargeBinary(20), primary_key=True, index=True),
        sa.Column("seconds", sa.BigInteger, sa.CheckConstraint("seconds > 0", name="positive"), nullable=False),
    )
    op.create_table(
        "lease",
        sa.Column("lease", sa.LargeBinary(32), primary_key=True),
        sa.Column("holder", sa.LargeBinary(20), nullable=False, index=True),
        sa.Column("credit_id", sa.LargeBinary(32), sa.ForeignKey("offer.credit_id"), nullable=False, index=True),
        sa.Column("seconds", sa.BigInteger, nullable=False),
        sa.Column("starts_at", sa.BigInteger, nullable=False),
        sa.Column("session_key", sa.LargeBinary(64), nullable=False, comment="x || y, P-256"),
        sa.Column("redeemed_block", sa.BigInteger, nullable=False),
        sa.Column("settled_ms", sa.BigInteger, nullable=False, comment="cumulative GPU-ms settled on chain"),
        sa.Column("paid_wei", sa.LargeBinary(32), nullable=False),
        sa.CheckConstraint("(settled_ms + 999) / 1000 <= seconds", name="within_lease"),
    )
    op.create_table(
        "delivered",
        sa.Column("class_id", sa.LargeBinary(32), sa.ForeignKey("asset_class.class_id"), primary_key=True),
        sa.Column("window", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("root", sa.LargeBinary(20), primary_key=True),
        sa.Column("level", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("gpu_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "anchor",
        sa.Column("submitter", sa.LargeBinary(20), primary_key=True),
        sa.Column("epoch", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("root", sa.LargeBinary(32), nullable=False),
        sa.Column("previous", sa.LargeBinary(32), nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.Column("gpu_ms", sa.LargeBinary(32), nullable=False, comment="as claimed by the submitter"),
        sa.Column("uri", sa.String, nullable=False),
        sa.Column("block_number", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    for table in (
        "anchor",
        "delivered",
        "lease",
        "credit",
        "offer",
        "holding",
        "device",
        "asset",
        "asset_class",
        "member",
        "journal",
        "event",
        "block",
        "cursor",
    ):
        op.drop_table(table)
