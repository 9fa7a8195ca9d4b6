"""The mirror's tables: the chain's events, and the rows that follow from them, in the words of the contracts.

Only apply.py and follow.py write here. `event` is the immutable log of one canonical branch; every other table is a
function of it. Each of the STATE tables has a history beside it, which is only added to, but for what a reorg undoes.
Amounts are below 2^63 by the contracts' own bounds (ILedger), prices and ids are U256.
"""

from hashlib import blake2b
from typing import Any, Final

import numpy as np
import sqlalchemy as sa

from commonhold.db import U256, metadata

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: what is next to each other goes far apart

Ints = np.ndarray[tuple[int], np.dtype[np.int64]]
Flags = np.ndarray[tuple[int], np.dtype[np.bool_]]

# One row: which chain and which deployment this database belongs to, and how far it has followed.
cursor = sa.Table(
    "cursor",
    metadata,
    sa.Column("id", sa.Integer, sa.CheckConstraint("id = 1", name="single"), primary_key=True),
    sa.Column("chain_id", sa.BigInteger, nullable=False),
    sa.Column("deployment", sa.LargeBinary(32), nullable=False, comment="hash of the deployment's addresses"),
    sa.Column("first", sa.BigInteger, nullable=False, comment="the deployment's block: nothing is known before it"),
    sa.Column("number", sa.BigInteger, nullable=False, comment="last block applied"),
    sa.Column("hash", sa.LargeBinary(32), nullable=False),
    sa.Column("timestamp", sa.BigInteger, nullable=False, comment="of that block, Unix seconds"),
    sa.Column("finalized", sa.BigInteger, nullable=False, comment="no rewind goes below this block"),
)

block = sa.Table(
    "block",
    metadata,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("hash", sa.LargeBinary(32), nullable=False, unique=True),
    sa.Column("parent", sa.LargeBinary(32), nullable=False),
    sa.Column("timestamp", sa.BigInteger, nullable=False),
)

event = sa.Table(
    "event",
    metadata,
    sa.Column("block_number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("log_index", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("block_hash", sa.LargeBinary(32), nullable=False),
    sa.Column("transaction_hash", sa.LargeBinary(32), nullable=False),
    sa.Column("contract", sa.String(16), nullable=False),
    sa.Column("name", sa.String(32), nullable=False),
    sa.Column("topics", sa.LargeBinary, nullable=False, comment="concatenated, 32 bytes each"),
    sa.Column("data", sa.LargeBinary, nullable=False),
    sqlite_with_rowid=False,  # rows lie in the order of the key: one tree instead of two
)

# The LtHash sum over all rows of the STATE tables after a block; digest.py says of which blocks it is kept.
digest = sa.Table(
    "digest",
    metadata,
    sa.Column("block_number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("sum", sa.LargeBinary(2048), nullable=False, comment="1,024 numbers of 16 bits, little-endian"),
)

member = sa.Table(
    "member",
    metadata,
    sa.Column("address", sa.LargeBinary(20), primary_key=True),
    sa.Column("nullifier", sa.LargeBinary(32), nullable=True, unique=True, comment="null: it took another's place"),
    sa.Column("controller", sa.LargeBinary(20), nullable=True, comment="null: nobody controls it"),
    sa.Column("root", sa.LargeBinary(20), nullable=False, index=True, comment="the group it counts in"),
    sa.Column("since", sa.BigInteger, nullable=False, comment="start of the unbroken membership"),
    sa.Column("until", sa.BigInteger, nullable=False, comment="0: it was replaced"),
    sa.Column("counted", sa.Boolean, nullable=False, comment="a root that is among the groups"),
    sa.Column("refuses_gifts", sa.Boolean, nullable=False, comment="it takes only what it asked for"),
    sa.Column("successor", sa.LargeBinary(20), nullable=True, comment="who took its place; null: nobody"),
    sa.Column("detach_ready_at", sa.BigInteger, nullable=True, comment="when it can leave its group; null: it stays"),
    sa.Column("recovery_to", sa.LargeBinary(20), nullable=True, comment="who is to take its place; null: nobody"),
    sa.Column("recovery_ready_at", sa.BigInteger, nullable=True),
)

# What the council may change. Those of a class have its id as subject, those of a contract zero.
setting = sa.Table(
    "setting",
    metadata,
    sa.Column("contract", sa.String(16), primary_key=True),
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("subject", sa.LargeBinary(32), primary_key=True),
    sa.Column("value", U256, nullable=True, comment='null: "signers", which has none'),
    sa.Column("changed_at", sa.BigInteger, nullable=True, comment="Unix seconds; null: it is as at the beginning"),
    sa.Column("pending", U256, nullable=True, comment="the value that waits; null: none"),
    sa.Column("ready_at", sa.BigInteger, nullable=True, comment="from when it may be carried out"),
    sa.Column("abdicated", sa.Boolean, nullable=False, comment="it never changes again"),
)

signer = sa.Table(
    "signer",
    metadata,
    sa.Column("contract", sa.String(16), primary_key=True, comment="Members: attesters. Ledger: appraisers"),
    sa.Column("signer", sa.LargeBinary(20), primary_key=True),
    sa.Column("signs", sa.Boolean, nullable=False),
    sa.Column("ready_at", sa.BigInteger, nullable=True, comment="when it may be added; null: it was not scheduled"),
)

proposal = sa.Table(
    "proposal",
    metadata,
    sa.Column("proposal_id", U256, primary_key=True),
    sa.Column("proposer", sa.LargeBinary(20), nullable=False),
    sa.Column("calls", sa.String, nullable=False, comment="JSON: target, value and data of each"),
    sa.Column("description", sa.String, nullable=False),
    sa.Column("vote_start", U256, nullable=False, comment="the snapshot, Unix seconds"),
    sa.Column("vote_end", U256, nullable=False),
    sa.Column("against", sa.BigInteger, nullable=False, comment="votes"),
    sa.Column("in_favour", sa.BigInteger, nullable=False),
    sa.Column("abstaining", sa.BigInteger, nullable=False),
    sa.Column("ready_at", U256, nullable=True, comment="when it may be executed; null: it is not queued"),
    sa.Column("outcome", sa.String(16), nullable=True, comment="executed, canceled; null: neither yet"),
    sa.Column("block_number", sa.BigInteger, nullable=False),
)

vote = sa.Table(
    "vote",
    metadata,
    sa.Column("proposal_id", U256, sa.ForeignKey(proposal.c.proposal_id), primary_key=True),
    sa.Column("voter", sa.LargeBinary(20), primary_key=True),
    sa.Column("support", sa.Integer, nullable=False, comment="0 against, 1 in favour, 2 abstains"),
    sa.Column("weight", sa.BigInteger, nullable=False),
    sa.Column("reason", sa.String, nullable=False),
)

asset_class = sa.Table(
    "asset_class",
    metadata,
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

asset = sa.Table(
    "asset",
    metadata,
    sa.Column("asset", U256, primary_key=True),
    sa.Column("class_id", sa.LargeBinary(32), sa.ForeignKey(asset_class.c.class_id), nullable=False, index=True),
    sa.Column("operator", sa.LargeBinary(20), nullable=False),
    sa.Column("units", sa.BigInteger, nullable=False),
    sa.Column("level", sa.Integer, nullable=False),
    sa.Column("policy", sa.String, nullable=False, comment='the appraisal policy, "development" included'),
    sa.Column("content_hash", sa.LargeBinary(32), nullable=False),
    sa.Column("result_hash", sa.LargeBinary(32), nullable=False),
    sa.Column("meter_key", sa.LargeBinary(64), nullable=True, comment="x || y of the node's P-256 key; null: no node"),
    sa.Column("appraised_at", sa.BigInteger, nullable=False, comment="timestamp of the block of the last appraisal"),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
    sa.Column("retired", sa.Boolean, nullable=False, comment="it is in the total of its class no more"),
    sa.Column("commons_price_wei", U256, nullable=False, comment="of 1.000000 units of the commons"),
    sa.Column("accrued_wei", U256, nullable=False, comment="revenue of all its units, ever"),
    sa.Column("claimed_wei", U256, nullable=False, comment="what its holders were paid of it"),
    sa.Column("shared_wei", U256, nullable=False, comment="what of the commons' part was shared among the groups"),
    sa.Column("uri", sa.String, nullable=False),
)

device = sa.Table(
    "device",
    metadata,
    sa.Column("device", sa.LargeBinary(32), primary_key=True, comment="commitment to the device's identity"),
    sa.Column("asset", U256, sa.ForeignKey(asset.c.asset), nullable=False, index=True),
)


def _newest_version() -> sa.Column[int]:
    """Of a balance: from which block on its row says this."""
    return sa.Column("from_block", sa.BigInteger, nullable=False, info={"internal": True})


# Of the tables of balances. One that changes stays on its page, even if all there do, and no index has to follow it.
_BALANCE_OPTIONS: dict[str, Any] = {"sqlite_with_rowid": False, "postgresql_with": {"fillfactor": 45}}

# Rows with zero units are deleted: a sync from any point ends in the same rows. The ledger's own address holds the
# commons.
holding = sa.Table(
    "holding",
    metadata,
    sa.Column("asset", U256, sa.ForeignKey(asset.c.asset), primary_key=True),
    sa.Column("owner", sa.LargeBinary(20), primary_key=True, index=True),
    sa.Column("units", sa.BigInteger, sa.CheckConstraint("units > 0", name="positive"), nullable=False),
    sa.Column("counted", sa.Boolean, nullable=False, comment="in what its group holds"),
    _newest_version(),
    **_BALANCE_OPTIONS,
)

claim = sa.Table(
    "claim",
    metadata,
    sa.Column("asset", U256, sa.ForeignKey(asset.c.asset), primary_key=True),
    sa.Column("account", sa.LargeBinary(20), primary_key=True, index=True),
    sa.Column("amount_wei", U256, nullable=False, comment="revenue of the asset that it was paid, ever"),
)

commons_claim = sa.Table(
    "commons_claim",
    metadata,
    sa.Column("root", sa.LargeBinary(20), primary_key=True),
    sa.Column("amount_wei", U256, nullable=False, comment="of the commons' revenue that the group was paid, ever"),
)

offer = sa.Table(
    "offer",
    metadata,
    sa.Column("credit_id", U256, primary_key=True),
    sa.Column("asset", U256, sa.ForeignKey(asset.c.asset), nullable=False, index=True),
    sa.Column("window", sa.BigInteger, nullable=False),
    sa.Column("tranche", sa.BigInteger, nullable=False),
    sa.Column("price_wei", U256, nullable=False, comment="per second of one unit; 0: granted, not sold"),
)

credit = sa.Table(
    "credit",
    metadata,
    sa.Column("credit_id", U256, sa.ForeignKey(offer.c.credit_id), primary_key=True),
    sa.Column("holder", sa.LargeBinary(20), primary_key=True, index=True),
    sa.Column("seconds", sa.BigInteger, sa.CheckConstraint("seconds > 0", name="positive"), nullable=False),
    _newest_version(),
    **_BALANCE_OPTIONS,
)

lease = sa.Table(
    "lease",
    metadata,
    sa.Column("lease", sa.LargeBinary(32), primary_key=True),
    sa.Column("holder", sa.LargeBinary(20), nullable=False, index=True),
    sa.Column("credit_id", U256, sa.ForeignKey(offer.c.credit_id), nullable=False, index=True),
    sa.Column("seconds", sa.BigInteger, nullable=False),
    sa.Column("starts_at", sa.BigInteger, nullable=False),
    sa.Column("level", sa.Integer, nullable=False, comment="of the asset, when the lease was made"),
    sa.Column("session_key", sa.LargeBinary(64), nullable=False, comment="x || y, P-256; the present one"),
    sa.Column("key_number", sa.Integer, nullable=False, comment="of the session key, from 0"),
    sa.Column("changes", sa.Integer, nullable=False, comment="the number of the next statement about it"),
    sa.Column("part_of", sa.LargeBinary(32), nullable=True, comment="the lease that it was split from"),
    sa.Column("redeemed_block", sa.BigInteger, nullable=False),
    sa.Column("settled_ms", sa.BigInteger, nullable=False, comment="cumulative GPU-ms settled on chain"),
    sa.Column("paid_wei", U256, nullable=False, comment="accrued to the holders of the asset"),
    sa.Column("refunded_wei", U256, nullable=True, comment="null: not refunded"),
    # settled_ms <= seconds * 1000, without a product that might overflow
    sa.CheckConstraint("(settled_ms + 999) / 1000 <= seconds", name="within_lease"),
)

# Session keys that were replaced, and the last second whose use each proves.
former_key = sa.Table(
    "former_key",
    metadata,
    sa.Column("lease", sa.LargeBinary(32), sa.ForeignKey(lease.c.lease), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("session_key", sa.LargeBinary(64), nullable=False, comment="x || y, P-256"),
    sa.Column("until", sa.BigInteger, nullable=False),
)

delivered = sa.Table(
    "delivered",
    metadata,
    sa.Column("class_id", sa.LargeBinary(32), sa.ForeignKey(asset_class.c.class_id), primary_key=True),
    sa.Column("window", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("root", sa.LargeBinary(20), primary_key=True),
    sa.Column("level", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("gpu_ms", sa.BigInteger, nullable=False),
)

anchor = sa.Table(
    "anchor",
    metadata,
    sa.Column("submitter", sa.LargeBinary(20), primary_key=True),
    sa.Column("epoch", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("root", sa.LargeBinary(32), nullable=False),
    sa.Column("previous", sa.LargeBinary(32), nullable=False),
    sa.Column("count", sa.BigInteger, nullable=False),
    # U256: anyone may anchor, and claim any number of 64 bits; it must not stop the mirror.
    sa.Column("gpu_ms", U256, nullable=False, comment="as claimed by the submitter"),
    sa.Column("uri", sa.String, nullable=False),
    sa.Column("block_number", sa.BigInteger, nullable=False),
)

# What `digest` covers and a reorg must restore. A table comes after those it refers to.
STATE = (
    member,
    setting,
    signer,
    proposal,
    vote,
    asset_class,
    asset,
    device,
    holding,
    claim,
    commons_claim,
    offer,
    credit,
    lease,
    former_key,
    delivered,
    anchor,
)

# The two tables of balances: (id, whose), and how much. Nearly every event changes two of their rows.
BALANCES = (holding, credit)


def shown(table: sa.Table) -> list[sa.Column[Any]]:
    """The columns that say what is: all but what only finds it."""
    return [column for column in table.columns if not column.info.get("internal")]


def shown_in(rows: sa.FromClause, table: sa.Table) -> list[sa.ColumnElement[Any]]:
    """The same of rows of the table, as they are or were."""
    return [rows.c[column.name] for column in shown(table)]


def _history_of(table: sa.Table) -> sa.Table:
    """What each row of `table` was, from one block on to the next version of the same key."""
    keys = [column.name for column in table.primary_key]
    balances = table in BALANCES
    columns = [
        sa.Column(
            column.name,
            column.type,
            primary_key=column.name in keys and not balances,
            nullable=column.name not in keys,
            autoincrement=False,
            index=(table.name, column.name) == ("lease", "holder"),  # whose past is asked for
        )
        for column in shown(table)
    ]
    columns += [
        sa.Column("from_block", sa.BigInteger, nullable=False, primary_key=not balances, autoincrement=False),
        sa.Column("gone", sa.Boolean, nullable=False, comment="the row was deleted: all but the key is null"),
    ]
    name = f"{table.name}_history"
    by_block = f"ix_{name}_from_block"
    if not balances:
        return sa.Table(name, metadata, *columns, sa.Index(by_block, "from_block"))
    # An index over the keys of all versions would be most of the database, and most of what a block writes: at random
    # places, where all else is added at an end. Instead each version names the block of the one before, and the row
    # that of the newest: history.py goes back from the row, or from a version that is marked. 8 bytes of a hash stand
    # for the 52 of a key. By one half of a key only the versions are found that began a row.
    columns += [
        sa.Column("previous", sa.BigInteger, nullable=False, comment="from_block of the version before; -1: no row"),
        sa.Column("marked", sa.Boolean, nullable=False, comment="the first or the last of a row, or one in 16"),
        sa.Column("key", sa.BigInteger, nullable=False, comment="balance_key"),
    ]
    for each in columns[-3:]:
        each.info["internal"] = True
    versions = sa.Table(name, metadata, *columns, sa.Index(by_block, "from_block", "key"))
    first, marked = is_first(versions), is_marked(versions)
    sa.Index(f"ix_{name}_key", versions.c.key, versions.c.from_block, postgresql_where=marked, sqlite_where=marked)
    for part in keys:
        sa.Index(f"ix_{name}_{part}", versions.c[part], postgresql_where=first, sqlite_where=first)
    return versions


def is_first(versions: sa.FromClause) -> sa.ColumnElement[bool]:
    """Before these versions of balances there was no row. In the words of their index, which is not used without."""
    return versions.c.previous < sa.literal_column("0")


def is_marked(versions: sa.FromClause) -> sa.ColumnElement[bool]:
    """These versions of balances are found by their key. In the words of their index, which is not used without."""
    return versions.c.marked.is_(sa.true())


HISTORY = {table.name: _history_of(table) for table in STATE}


def balance_key(id_: bytes, whose: bytes) -> int:
    """What stands for the key of a balance in the indexes of its history: 64 bits, as a signed number."""
    return int.from_bytes(blake2b(id_ + whose, digest_size=8).digest(), signed=True)


def marks(keys: Ints, blocks: Ints) -> Flags:
    """Which versions of balances are marked, besides the first and the last of a row: one in 16, as if by chance, so
    that neither who moves them often nor who does so regularly leaves a long way without one.

    keys: as of `balance_key`. blocks: from which the versions are.
    """
    mixed = (keys ^ blocks).view(np.uint64) * _GOLDEN
    chosen: Flags = mixed >> np.uint64(60) == 0
    return chosen
