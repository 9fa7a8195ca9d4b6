"""mirror: a version of a balance names the block of the one before, so that few versions need an index over their keys

What is mirrored stays, with its history.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0009_way_back"
down_revision = "0008_room"
branch_labels = None
depends_on = None

# Id and where it stands, whose, how much, what else a row has.
_Balance = tuple[str, str, str, str, dict[str, tuple[Any, str]]]
_BALANCES: dict[str, _Balance] = {
    "holding": ("asset", "asset", "owner", "units", {"counted": (sa.Boolean, "in what its group holds")}),
    "credit": ("credit_id", "offer", "holder", "seconds", {}),
}
# Which are marked by chance need not be the same in two databases: here it is each 16th of a balance.
_VERSIONS = """
    {columns}, from_block, gone,
    CASE WHEN born THEN -1 ELSE lag(from_block) OVER versions END,
    born OR gone OR row_number() OVER versions % 16 = 0, key
    FROM {history} WINDOW versions AS (PARTITION BY {id}, {whose} ORDER BY from_block) ORDER BY from_block, key
"""
_NEWEST = """
    {columns}, from_block FROM {now}
    JOIN (SELECT {id}, {whose}, max(from_block) AS from_block FROM {history} GROUP BY {id}, {whose}) AS newest
    USING ({id}, {whose})
"""


def upgrade() -> None:
    for name, balance in _BALANCES.items():
        id_, _, whose, amount, rest = balance
        table = f"{name}_history"
        columns = ", ".join([id_, whose, amount, *rest])
        was = _set_aside(name), _set_aside(table)
        _balances(name, balance, sa.Column("from_block", sa.BigInteger, nullable=False))
        _fill(name, _NEWEST.format(columns=columns, now=was[0], history=was[1], id=id_, whose=whose))
        op.create_table(
            table,
            *_history(balance),
            sa.Column(
                "previous", sa.BigInteger, nullable=False, comment="from_block of the version before; -1: no row"
            ),
            sa.Column("marked", sa.Boolean, nullable=False, comment="the first or the last of a row, or one in 16"),
            sa.Column("key", sa.BigInteger, nullable=False, comment="balance_key"),
        )
        _fill(table, _VERSIONS.format(columns=columns, history=was[1], id=id_, whose=whose))
        op.create_index(f"ix_{table}_from_block", table, ["from_block", "key"])
        marked = sa.column("marked", sa.Boolean).is_(sa.true())
        op.create_index(f"ix_{table}_key", table, ["key", "from_block"], postgresql_where=marked, sqlite_where=marked)
        for column in (id_, whose):
            first = sa.column("previous", sa.BigInteger) < sa.literal_column("0")
            op.create_index(f"ix_{table}_{column}", table, [column], postgresql_where=first, sqlite_where=first)
        _drop(was)


def downgrade() -> None:
    for name, balance in _BALANCES.items():
        id_, _, whose, amount, rest = balance
        table = f"{name}_history"
        columns = ", ".join([id_, whose, amount, *rest])
        was = _set_aside(name), _set_aside(table)
        _balances(name, balance)
        _fill(name, f"{columns} FROM {was[0]}")
        op.create_table(
            table,
            *_history(balance),
            sa.Column("born", sa.Boolean, nullable=False, comment="there was no row before"),
            sa.Column("key", sa.BigInteger, nullable=False, comment="balance_key"),
        )
        _fill(table, f"{columns}, from_block, gone, previous < 0, key FROM {was[1]} ORDER BY from_block, key")
        op.create_index(f"ix_{table}_from_block", table, ["from_block"])
        op.create_index(f"ix_{table}_key", table, ["key", "from_block"])
        for column in (id_, whose):
            born = sa.column("born")
            op.create_index(f"ix_{table}_{column}", table, [column], postgresql_where=born, sqlite_where=born)
        _drop(was)


def _set_aside(table: str) -> str:
    """Its rows are in a table of this name, without any rules, and it is gone."""
    op.execute(f"CREATE TABLE was_{table} AS SELECT * FROM {table}")  # noqa: S608
    op.drop_table(table)
    return f"was_{table}"


def _fill(table: str, rows: str) -> None:
    op.execute(f"INSERT INTO {table} SELECT {rows}")


def _drop(tables: tuple[str, ...]) -> None:
    for table in tables:
        op.drop_table(table)


def _balances(name: str, balance: _Balance, *more: sa.Column[Any]) -> None:
    id_, of, whose, amount, rest = balance
    op.create_table(
        name,
        sa.Column(id_, sa.LargeBinary(32), nullable=False),
        sa.Column(whose, sa.LargeBinary(20), nullable=False),
        sa.Column(amount, sa.BigInteger, nullable=False),
        *(sa.Column(column, kind, nullable=False, comment=says) for column, (kind, says) in rest.items()),
        *more,
        sa.ForeignKeyConstraint([id_], [f"{of}.{id_}"], name=f"fk_{name}_{id_}"),
        sa.CheckConstraint(f"{amount} > 0", name=op.f(f"ck_{name}_positive")),
        sa.PrimaryKeyConstraint(id_, whose, name=f"pk_{name}"),
        sqlite_with_rowid=False,
        postgresql_with={"fillfactor": 45},
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
