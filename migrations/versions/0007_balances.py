"""mirror: the digest by BLAKE3; balances, their history and the events laid out for many of them

The sums that were kept are of another hash: the mirror is emptied, and the next `commonhold serve` follows the chain
from the deployment on. Tables of the other stages stay as they are.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007_balances"
down_revision = "0006_council"
branch_labels = None
depends_on = None

# A table comes after those it refers to.
_STATE = (
    *("member", "setting", "signer", "proposal", "vote", "asset_class", "asset", "device", "holding", "claim"),
    *("commons_claim", "offer", "credit", "lease", "former_key", "delivered", "anchor"),
)
# Id and where it stands, whose, how much, what else a row has.
_Balance = tuple[str, str, str, str, dict[str, tuple[Any, str]]]
_BALANCES: dict[str, _Balance] = {
    "holding": ("asset", "asset", "owner", "units", {"counted": (sa.Boolean, "in what its group holds")}),
    "credit": ("credit_id", "offer", "holder", "seconds", {}),
}


def upgrade() -> None:
    _empty()
    # On SQLite their rows lie in the order of the key: one tree instead of two. On PostgreSQL a balance that changes
    # stays on its page, and no index has to follow it.
    _events(sqlite_with_rowid=False)
    for name, balance in _BALANCES.items():
        _balances(name, balance, sqlite_with_rowid=False, postgresql_with={"fillfactor": 70})
        id_, _, whose, *_ = balance
        table = f"{name}_history"
        op.drop_table(table)
        op.create_table(
            table,
            *_history(balance),
            sa.Column("born", sa.Boolean, nullable=False, comment="there was no row before"),
            sa.Column("key", sa.BigInteger, nullable=False, comment="balance_key"),
        )
        op.create_index(f"ix_{table}_from_block", table, ["from_block"])
        op.create_index(f"ix_{table}_key", table, ["key", "from_block"])
        for column in (id_, whose):
            where = sa.column("born")
            op.create_index(f"ix_{table}_{column}", table, [column], postgresql_where=where, sqlite_where=where)


def downgrade() -> None:
    _empty()
    _events()
    for name, balance in _BALANCES.items():
        _balances(name, balance)
        id_, _, whose, *_ = balance
        table = f"{name}_history"
        op.drop_table(table)
        op.create_table(
            table, *_history(balance), sa.PrimaryKeyConstraint(id_, whose, "from_block", name=f"pk_{table}")
        )
        op.create_index(f"ix_{table}_from_block", table, ["from_block"])
        op.create_index(f"ix_{table}_{whose}", table, [whose])


def _events(**options: Any) -> None:
    op.drop_table("event")
    op.create_table(
        "event",
        sa.Column("block_number", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("log_index", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("block_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("transaction_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("contract", sa.String(16), nullable=False),
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("topics", sa.LargeBinary, nullable=False, comment="concatenated, 32 bytes each"),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("block_number", "log_index", name="pk_event"),
        **options,
    )


def _balances(name: str, balance: _Balance, **options: Any) -> None:
    id_, of, whose, amount, rest = balance
    op.drop_table(name)
    op.create_table(
        name,
        sa.Column(id_, sa.LargeBinary(32), nullable=False),
        sa.Column(whose, sa.LargeBinary(20), nullable=False),
        sa.Column(amount, sa.BigInteger, nullable=False),
        *(sa.Column(column, kind, nullable=False, comment=says) for column, (kind, says) in rest.items()),
        sa.ForeignKeyConstraint([id_], [f"{of}.{id_}"], name=f"fk_{name}_{id_}"),
        sa.CheckConstraint(f"{amount} > 0", name=op.f(f"ck_{name}_positive")),
        sa.PrimaryKeyConstraint(id_, whose, name=f"pk_{name}"),
        **options,
    )
    op.create_index(f"ix_{name}_{whose}", name, [whose])


def _history(balance: _Balance) -> list[sa.Column[Any]]:
    id_, _, whose, amount, rest = balance
    return [
        sa.Column(id_, sa.LargeBinary(32), autoincrement=False, nullable=False),
        sa.Column(whose, sa.LargeBinary(20), autoincrement=False, nullable=False),
        sa.Column(amount, sa.BigInteger, autoincrement=False, nullable=True),
        *(sa.Column(column, kind, autoincrement=False, nullable=True) for column, (kind, _) in rest.items()),
        sa.Column("from_block", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("gone", sa.Boolean, nullable=False, comment="the row was deleted: all but the key is null"),
    ]


def _empty() -> None:
    """Nothing is mirrored."""
    for table in reversed(_STATE):
        op.execute(sa.delete(sa.table(f"{table}_history")))
        op.execute(sa.delete(sa.table(table)))
    for table in ("digest", "event", "block", "cursor"):
        op.execute(sa.delete(sa.table(table)))
