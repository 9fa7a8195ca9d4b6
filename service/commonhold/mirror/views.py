"""The mirror for people who ask in SQL: a view for each STATE table and one for its history, every column documented.

Addresses, hashes, keys and ids are 0x text there, units have their 6 decimals. They follow from the tables, so that no
migration names them: whatever migrates drops them before and makes them after. docs/schema.md is `markdown()`.
"""

from typing import Any, Literal

import sqlalchemy as sa

from commonhold.db import U256
from commonhold.mirror.tables import HISTORY, STATE, shown

NAMES = {
    "member": "members",
    "setting": "settings",
    "signer": "signers",
    "proposal": "proposals",
    "vote": "votes",
    "asset_class": "classes",
    "asset": "assets",
    "device": "devices",
    "holding": "holdings",
    "claim": "claims",
    "commons_claim": "commons_claims",
    "offer": "offers",
    "credit": "credits",
    "lease": "leases",
    "former_key": "former_keys",
    "delivered": "deliveries",
    "anchor": "anchors",
}

Kind = Literal["hex", "units", "time", "amount", "number", "text", "yes or no"]

_UNITS = ("units", "floor_units", "total_units")

# What a column means; with the name of its table where that matters.
COMMENTS = {
    "address": "the member's account",
    "nullifier": "of the identity that was admitted: one identity is one member",
    "controller": "the member that controls this one; null: nobody does",
    "member.root": "the root of the group it counts in",
    "since": "start of the unbroken membership, Unix seconds",
    "member.until": "Unix seconds; then the membership is expired; 0: it was replaced",
    "recovery_ready_at": "when the other can take its place, Unix seconds; null: nobody is to",
    "contract": "Members or Ledger",
    "setting.name": "as in the contract; signers: the members of its quorum",
    "subject": "a class's id; zero: the contract itself",
    "signer": "the account",
    "signs": "false: it was taken out, or waits",
    "proposal_id": "hash of what is proposed",
    "proposer": "the root of a group",
    "description": "as proposed",
    "vote_end": "Unix seconds; a late quorum makes it later",
    "in_favour": "votes",
    "abstaining": "votes",
    "proposal.block_number": "the block that it was made in",
    "voter": "the root of a group",
    "weight": "1: one group, one vote",
    "reason": "as given",
    "account": "whose it is",
    "commons_claim.root": "the root of a group",
    "number": "of the session key, from 0",
    "former_key.until": "the last second whose use it proves, Unix seconds",
    "class_id": "keccak-256 of the class's name",
    "name": "of the class",
    "kind": "0 DATA, 1 MODEL, 2 COMPUTE",
    "unit": "what one unit of the class is",
    "hold_bps": "the largest share of the total that one group may own, in hundredths of a percent",
    "use_bps": "the largest share of a window's seconds that one group may acquire, in hundredths of a percent",
    "min_level": "the lowest assurance level of its assets",
    "floor_units": "the total that limits count with at least",
    "total_units": "of all its assets",
    "asset": "id of the asset",
    "operator": "who registered it and opens its windows",
    "asset.units": "all units of the asset",
    "holding.units": "owned by this account",
    "asset.level": "assurance level of the appraisal; 3 and higher are attested",
    "delivered.level": "assurance level of the time that was delivered",
    "policy": 'the appraisal policy, "development" included',
    "content_hash": "of what was appraised",
    "result_hash": "of what the appraisers found",
    "meter_key": "x and y of the node's P-256 key; null: no node serves it",
    "appraised_at": "time of the block of the last appraisal, Unix seconds",
    "expires_at": "when the appraisal lapses, Unix seconds",
    "asset.uri": "gateway of the node, or where the content is described",
    "anchor.uri": "where the epoch's data is",
    "device": "commitment to the identity of a device",
    "owner": "the ledger's own address: the commons",
    "credit_id": "asset, window and tranche of the credits, 192, 32 and 32 bits",
    "window": "number of the window: Unix time divided by its length",
    "tranche": "number of the price within asset and window",
    "price_wei": "256 bits, per second of one unit; 0: granted, not sold",
    "holder": "whose they are",
    "credit.seconds": "not redeemed yet",
    "lease.seconds": "redeemed: the budget of the lease",
    "lease": "digest of the redemption that its holder signed",
    "starts_at": "Unix seconds",
    "lease.session_key": "x and y of the developer's present P-256 key",
    "former_key.session_key": "x and y of a P-256 key that was replaced",
    "redeemed_block": "number of the block",
    "settled_ms": "cumulative GPU-milliseconds settled on chain",
    "delivered.root": "the group, as it was when settled",
    "delivered.gpu_ms": "GPU-milliseconds settled",
    "submitter": "who anchored",
    "epoch": "number, per submitter",
    "anchor.root": "Merkle root of the epoch's receipts and segments",
    "previous": "chains the submitter's anchors: hash of the one before",
    "count": "leaves under the root, as claimed",
    "anchor.gpu_ms": "256 bits, as claimed",
    "anchor.block_number": "the block that it was anchored in",
    "from_block": "the row says this from the end of this block on, until the next version of the same key",
    "gone": "true: from this block on there is no such row",
}


def drop(connection: sa.Connection) -> list[str]:
    """No view of the mirror is there. The roles that could read them, for `grant`."""
    present = set(sa.inspect(connection).get_view_names())
    mine = [name for name, _ in tables() if name in present]
    readers: list[str] = []
    if mine and connection.dialect.name == "postgresql":
        granted = sa.text(
            "SELECT DISTINCT grantee FROM information_schema.role_table_grants WHERE privilege_type = 'SELECT' "
            "AND grantee <> current_user AND table_schema = current_schema() AND table_name = ANY(:names) ORDER BY 1"
        )
        readers = list(connection.execute(granted, {"names": mine}).scalars())
    for name in mine:
        connection.exec_driver_sql(f'DROP VIEW "{name}"')
    return readers


def create(connection: sa.Connection) -> None:
    """Every view is there, on PostgreSQL with its comments."""
    postgresql = connection.dialect.name == "postgresql"
    for name, table in tables():
        said = ", ".join(f'{_shown(column, postgresql)} AS "{column.name}"' for column in shown(table))
        connection.exec_driver_sql(f'CREATE VIEW "{name}" AS SELECT {said} FROM {table.name}')  # noqa: S608
        for column in shown(table) if postgresql else ():
            text = comment(table, column).replace("'", "''")
            connection.exec_driver_sql(f'COMMENT ON COLUMN "{name}"."{column.name}" IS \'{text}\'')


def grant(connection: sa.Connection, role: str) -> None:
    """The PostgreSQL role may read the views, and nothing else of ours by this."""
    quoted = connection.dialect.identifier_preparer.quote(role)
    for name, _ in tables():
        connection.exec_driver_sql(f'GRANT SELECT ON "{name}" TO {quoted}')


def comment(table: sa.Table, column: sa.Column[object]) -> str:
    """What the column means."""
    of = table.name.removesuffix("_history")
    said = COMMENTS.get(f"{of}.{column.name}") or COMMENTS.get(column.name)
    if said is None:
        said = next(state.c[column.name].comment for state in STATE if state.name == of)
    if said is None:
        raise KeyError(f"{of}.{column.name}")
    return said


def kind(table: sa.Table, column: sa.Column[Any]) -> Kind:
    """What a column's values are, by its type, its name and its comment; "amount": a number of up to 256 bits."""
    if isinstance(column.type, U256):
        return "amount" if column.name.endswith(("_wei", "_ms")) else "hex"
    if isinstance(column.type, sa.LargeBinary):
        return "hex"
    if isinstance(column.type, sa.Boolean):
        return "yes or no"
    if isinstance(column.type, sa.String):
        return "text"
    if column.name in _UNITS:
        return "units"
    return "time" if "Unix seconds" in comment(table, column) else "number"


def tables() -> list[tuple[str, sa.Table]]:
    """Every view with the table that it shows: those of the rows as they are, then those over time."""
    now = [(NAMES[table.name], table) for table in STATE]
    return now + [(f"{NAMES[table.name]}_over_time", HISTORY[table.name]) for table in STATE]


def key(table: sa.Table) -> list[str]:
    """The columns that tell the rows of a view apart."""
    of = next(state for state in STATE if table in (state, HISTORY[state.name]))
    return [column.name for column in of.primary_key] + ([] if table is of else ["from_block"])


def markdown() -> str:
    """The page docs/schema.md."""
    text = [
        "# The mirror in SQL",
        "",
        "Views for people who query; the service's own tables may change with any version. Addresses, hashes, keys and",
        "ids are 0x text; units are decimals with 6 places (text on SQLite). This page is written by",
        "`commonhold/mirror/views.py`, and a test compares them.",
        "",
        "`commonhold export DIR` writes them to Parquet files: units as decimal128(20, 6), amounts of 256 bits",
        "(`_wei`, `_ms`) as decimal256(76, 0), Unix seconds as timestamps in UTC, the rest as here. The metadata of",
        "each column has its meaning as `comment`.",
        "",
        "Each view `NAME` has a view `NAME_over_time` beside it: every version of every row, with `from_block` and",
        "`gone`. The rows as of a block are the newest versions of each key until it, without those that are gone.",
    ]
    for table in STATE:
        keys = [column.name for column in table.primary_key]
        text += [
            "",
            f"## {NAMES[table.name]}",
            "",
            f"Key: {', '.join(keys)}.",
            "",
            "| column | meaning |",
            "| --- | --- |",
        ]
        text += [f"| `{column.name}` | {comment(table, column)} |" for column in shown(table)]
    text += ["", "## NAME_over_time", "", "| column | meaning |", "| --- | --- |"]
    text += [f"| `{name}` | {COMMENTS[name]} |" for name in ("from_block", "gone")]
    return "\n".join(text) + "\n"


def _shown(column: sa.Column[object], postgresql: bool) -> str:
    name = f'"{column.name}"'
    impl = column.type.impl if isinstance(column.type, sa.types.TypeDecorator) else column.type
    if isinstance(impl, sa.LargeBinary):
        if postgresql:
            return f"'0x' || encode({name}, 'hex')"
        return f"CASE WHEN {name} IS NOT NULL THEN '0x' || lower(hex({name})) END"
    if column.name in _UNITS:
        if postgresql:
            return f"({name} / 1000000.0)::numeric(20, 6)"
        return f"CASE WHEN {name} IS NOT NULL THEN printf('%d.%06d', {name} / 1000000, {name} % 1000000) END"
    return name
