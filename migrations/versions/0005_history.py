"""mirror: every version of every row, the digest's sums, and segments by lease and head

The history cannot be made from the rows: the mirror is emptied, and the next `commonhold serve` follows the chain from
the deployment on. Tables of the other stages stay as they are.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005_history"
down_revision = "0004_anchor"
branch_labels = None
depends_on = None

_ADDRESS, _HASH, _KEY, _INT, _NUMBER, _TEXT = (
    sa.LargeBinary(20),
    sa.LargeBinary(32),
    sa.LargeBinary(64),
    sa.BigInteger,
    sa.Integer,
    sa.String,
)

# For each table its primary key, and what else it has.
_HISTORY: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "member": (
        {"address": _ADDRESS},
        {"nullifier": _HASH, "controller": _ADDRESS, "root": _ADDRESS, "since": _INT, "until": _INT},
    ),
    "asset_class": (
        {"class_id": _HASH},
        {
            "name": _TEXT,
            "kind": _NUMBER,
            "unit": _TEXT,
            "hold_bps": _NUMBER,
            "use_bps": _NUMBER,
            "min_level": _NUMBER,
            "floor_units": _INT,
            "total_units": _INT,
        },
    ),
    "asset": (
        {"asset": _HASH},
        {
            "class_id": _HASH,
            "operator": _ADDRESS,
            "units": _INT,
            "level": _NUMBER,
            "policy": _TEXT,
            "content_hash": _HASH,
            "result_hash": _HASH,
            "meter_key": _KEY,
            "appraised_at": _INT,
            "expires_at": _INT,
            "uri": _TEXT,
        },
    ),
    "device": ({"device": _HASH}, {"asset": _HASH}),
    "holding": ({"asset": _HASH, "owner": _ADDRESS}, {"units": _INT}),
    "offer": ({"credit_id": _HASH}, {"asset": _HASH, "window": _INT, "tranche": _INT, "price_wei": _HASH}),
    "credit": ({"credit_id": _HASH, "holder": _ADDRESS}, {"seconds": _INT}),
    "lease": (
        {"lease": _HASH},
        {
            "holder": _ADDRESS,
            "credit_id": _HASH,
            "seconds": _INT,
            "starts_at": _INT,
            "session_key": _KEY,
            "redeemed_block": _INT,
            "settled_ms": _INT,
            "paid_wei": _HASH,
        },
    ),
    "delivered": ({"class_id": _HASH, "window": _INT, "root": _ADDRESS, "level": _NUMBER}, {"gpu_ms": _INT}),
    "anchor": (
        {"submitter": _ADDRESS, "epoch": _INT},
        {
            "root": _HASH,
            "previous": _HASH,
            "count": _INT,
            "gpu_ms": _HASH,
            "uri": _TEXT,
            "block_number": _INT,
        },
    ),
}

_ASKED_BY = {"holding": "owner", "credit": "holder", "lease": "holder"}


def upgrade() -> None:
    _empty()
    op.drop_table("journal")
    op.drop_table("cursor")
    op.create_table(
        "cursor",
        sa.Column("id", sa.Integer, sa.CheckConstraint("id = 1", name="single"), primary_key=True),
        sa.Column("chain_id", sa.BigInteger, nullable=False),
        sa.Column("deployment", sa.LargeBinary(32), nullable=False, comment="hash of the deployment's addresses"),
        sa.Column("first", sa.BigInteger, nullable=False, comment="the deployment's block: nothing is known before it"),
        sa.Column("number", sa.BigInteger, nullable=False, comment="last block applied"),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.Column("timestamp", sa.BigInteger, nullable=False, comment="of that block, Unix seconds"),
        sa.Column("finalized", sa.BigInteger, nullable=False, comment="no rewind goes below this block"),
    )
    op.create_table(
        "digest",
        sa.Column("block_number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("sum", sa.LargeBinary(2048), nullable=False, comment="1,024 numbers of 16 bits, little-endian"),
    )
    for name, (key, rest) in _HISTORY.items():
        op.create_table(
            f"{name}_history",
            *(sa.Column(column, kind, primary_key=True, autoincrement=False) for column, kind in key.items()),
            *(sa.Column(column, kind, nullable=True) for column, kind in rest.items()),
            sa.Column("from_block", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("gone", sa.Boolean, nullable=False, comment="the row was deleted: all but the key is null"),
        )
        op.create_index(f"ix_{name}_history_from_block", f"{name}_history", ["from_block"])
        if name in _ASKED_BY:
            op.create_index(f"ix_{name}_history_{_ASKED_BY[name]}", f"{name}_history", [_ASKED_BY[name]])
    op.create_index("ix_segment_lease_head", "segment", ["lease", "head"])


def downgrade() -> None:
    _empty()
    op.drop_index("ix_segment_lease_head", "segment")
    for name in _HISTORY:
        op.drop_table(f"{name}_history")
    op.drop_table("digest")
    op.drop_table("cursor")
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
        "journal",
        sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("block_number", sa.BigInteger, nullable=False, index=True),
        sa.Column("table_name", sa.String(32), nullable=False),
        sa.Column("key", sa.LargeBinary, nullable=False, comment="canonical JSON of the primary key"),
        sa.Column(
            "old", sa.LargeBinary, nullable=True, comment="canonical JSON of the row before; null: there was none"
        ),
    )


def _empty() -> None:
    """Nothing is mirrored."""
    for table in (*reversed(_HISTORY), "event", "block"):
        op.execute(sa.delete(sa.table(table)))
