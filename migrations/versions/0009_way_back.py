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

_BALANCES = {"holding": ("asset", "owner"), "credit": ("credit_id", "holder")}
# Which versions are marked by chance need not be the same in two databases: here it is each 16th of a balance.
_PREVIOUS = """
    CASE WHEN born THEN -1 ELSE lag(from_block) OVER versions END AS previous,
    born OR gone OR row_number() OVER versions % 16 = 0 AS marked
"""


def upgrade() -> None:
    for name, (id_, whose) in _BALANCES.items():
        table, key = f"{name}_history", f"{id_}, {whose}"
        with op.batch_alter_table(name) as row:
            row.add_column(sa.Column("from_block", sa.BigInteger))
        _fill(name, ["from_block"], f"{key}, max(from_block) AS from_block FROM {table} GROUP BY {key}", key)
        with op.batch_alter_table(name) as row:
            row.alter_column("from_block", existing_type=sa.BigInteger, nullable=False)

        _drop_indexes(table, id_, whose)
        with op.batch_alter_table(table) as versions:
            said = "from_block of the version before; -1: no row"
            versions.add_column(sa.Column("previous", sa.BigInteger, comment=said))
            versions.add_column(sa.Column("marked", sa.Boolean, comment="the first or the last of a row, or one in 16"))
        window = f"WINDOW versions AS (PARTITION BY {key} ORDER BY from_block)"
        of = f"{key}, from_block"
        _fill(table, ["previous", "marked"], f"{of}, {_PREVIOUS} FROM {table} {window}", of)
        with op.batch_alter_table(table) as versions:
            versions.alter_column("previous", existing_type=sa.BigInteger, nullable=False)
            versions.alter_column("marked", existing_type=sa.Boolean, nullable=False)
            versions.drop_column("born")
        marked = sa.column("marked", sa.Boolean).is_(sa.true())
        first = sa.column("previous", sa.BigInteger) < sa.literal_column("0")
        _create_indexes(table, {"from_block": ["from_block", "key"]}, None)
        _create_indexes(table, {"key": ["key", "from_block"]}, marked)
        _create_indexes(table, {id_: [id_], whose: [whose]}, first)


def downgrade() -> None:
    for name, (id_, whose) in _BALANCES.items():
        table = f"{name}_history"
        with op.batch_alter_table(name) as row:
            row.drop_column("from_block")

        _drop_indexes(table, id_, whose)
        with op.batch_alter_table(table) as versions:
            versions.add_column(sa.Column("born", sa.Boolean, comment="there was no row before"))
        op.execute(f"UPDATE {table} SET born = previous < 0")  # noqa: S608 - of our own tables' names
        with op.batch_alter_table(table) as versions:
            versions.alter_column("born", existing_type=sa.Boolean, nullable=False)
            versions.drop_column("previous")
            versions.drop_column("marked")
        _create_indexes(table, {"from_block": ["from_block"], "key": ["key", "from_block"]}, None)
        _create_indexes(table, {id_: [id_], whose: [whose]}, sa.column("born"))


def _fill(table: str, columns: list[str], found: str, key: str) -> None:
    """The columns are as in the row that has the same key, of what a SELECT finds."""
    to = ", ".join(f"{column} = found.{column}" for column in columns)
    same = " AND ".join(f"{table}.{part} = found.{part}" for part in key.split(", "))
    op.execute(f"UPDATE {table} SET {to} FROM (SELECT {found}) AS found WHERE {same}")  # noqa: S608 - of our own tables' names


def _drop_indexes(table: str, id_: str, whose: str) -> None:
    for name in ("from_block", "key", id_, whose):
        op.drop_index(f"ix_{table}_{name}", table)


def _create_indexes(table: str, indexes: dict[str, list[str]], where: sa.ColumnElement[Any] | None) -> None:
    for name, columns in indexes.items():
        op.create_index(f"ix_{table}_{name}", table, columns, postgresql_where=where, sqlite_where=where)
