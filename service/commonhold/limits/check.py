"""The questions that the service answers before anything is sent: would this transfer, acquisition or redemption be
accepted? Reads the mirror, decides by rules.py, in the order in which the contracts check.
"""

from commonhold import p256, signing
from commonhold.db import ReadDb
from commonhold.errors import NotFound
from commonhold.limits import rules
from commonhold.limits.rules import Allowed, ClassLimits, Decision, Denied
from commonhold.mirror import read
from commonhold.units import (
    Address,
    AssetId,
    CreditId,
    Hash32,
    Units,
    Window,
    address_text,
    credit_parts,
    hex_text,
    units_text,
)


async def class_limits(db: ReadDb, class_id: Hash32) -> ClassLimits:
    """The limits of a class as the next block will see them. Raises NotFound."""
    row = await read.asset_class(db, class_id)
    if row is None:
        raise NotFound(f"no class {hex_text(class_id)}")
    return ClassLimits(row.name, row.total_units, row.total_units, row.floor_units, row.hold_bps, row.use_bps)


async def transfer(
    db: ReadDb, *, sender: Address, receiver: Address, asset: AssetId, units: Units, now_s: int
) -> Decision:
    """Whether the ledger would accept a transfer by `sender`."""
    row = await read.asset(db, asset)
    if row is None:
        return Denied("UnknownAsset", f"no asset {asset}")
    root, from_root = await read.root_of(db, receiver), await read.root_of(db, sender)
    denied = (
        await _replaced(db, sender)
        or await _inactive(db, receiver, now_s)
        or await _refusing(db, receiver, asked=root == from_root or receiver == sender)
    )
    if denied:
        return denied
    held = await read.holding(db, asset, sender)
    if held < units:
        return Denied(
            "ERC6909InsufficientBalance",
            f"{address_text(sender)} holds {units_text(held)} of asset {asset}, asked to send {units_text(units)}",
            {"held_units": held, "asked_units": units},
        )
    limits = await class_limits(db, row.class_id)
    held_by_group = await read.held_by(db, row.class_id, root)
    if root == from_root or row.retired or units == 0:  # what is retired counts nowhere
        return Allowed(max(0, limits.most_units - held_by_group))
    return rules.hold(limits, root=root, held=held_by_group, added=units)


async def acquisition(
    db: ReadDb,
    *,
    credit_id: CreditId,
    receiver: Address,
    seconds: int,
    now_s: int,
    window_seconds: int,
    asked: bool = False,
) -> Decision:
    """Whether Access would issue `seconds` credits to `receiver`. asked: it sends for them itself, as a buyer does."""
    asset, window, _tranche = credit_parts(credit_id)
    row = await read.asset(db, asset)
    if row is None or await read.offer(db, credit_id) is None:
        return Denied("NotOpen", f"no open offer for credit {credit_id}")
    denied = (
        _ended(window, now_s, window_seconds)
        or _lapsed(row, now_s)
        or await _inactive(db, receiver, now_s)
        or await _refusing(db, receiver, asked=asked)
    )
    if denied:
        return denied
    issued = await read.issued(db, asset, window)
    decision = rules.issue(
        asset=asset, window=window, issued=issued, added=seconds, units=row.units, window_seconds=window_seconds
    )
    if isinstance(decision, Denied):
        return decision
    limits = await class_limits(db, row.class_id)
    root = await read.root_of(db, receiver)
    return rules.acquire(
        limits,
        root=root,
        held=await read.held_by(db, row.class_id, root),
        acquired=await read.acquired_by(db, row.class_id, window, root),
        added=seconds,
        window=window,
        window_seconds=window_seconds,
    )


async def redemption(db: ReadDb, redemption: signing.Redemption, *, now_s: int, window_seconds: int) -> Decision:
    """Whether Access would turn these credits into a lease. The signature is not looked at here."""
    if now_s > redemption.deadline:
        return Denied("DeadlinePassed", f"the redemption's deadline was {redemption.deadline}, now is {now_s}")
    key = redemption.key_x + redemption.key_y
    of = (CreditId(redemption.id), redemption.holder, redemption.amount)
    return await _redeemable(db, *of, now_s=now_s, window_seconds=window_seconds, key=key)


async def lease_change(
    db: ReadDb, statement: signing.Split | signing.TopUp | signing.Rotation, *, now_s: int, window_seconds: int
) -> Decision:
    """Whether Access would change the lease so. Neither the signature is looked at here, nor what only the chain's
    clock decides: how much can be split off, and whether the last rotation is long enough ago."""
    lease = await read.lease(db, statement.lease)
    if now_s > statement.deadline:
        return Denied("DeadlinePassed", f"the statement's deadline was {statement.deadline}, now is {now_s}")
    if lease is None:
        return Denied("UnknownLease", f"no lease {hex_text(statement.lease)}")
    if denied := await _replaced(db, lease.holder):
        return denied
    if lease.changes != statement.change:
        return Denied(
            "WrongChange",
            f"the statement is about change {statement.change} of the lease, its next is {lease.changes}",
            {"got": statement.change, "expected": lease.changes},
        )
    if isinstance(statement, signing.TopUp):
        of = (lease.credit_id, lease.holder, statement.amount)
        return await _redeemable(db, *of, now_s=now_s, window_seconds=window_seconds)
    if p256.p256_key(statement.key_x + statement.key_y) is None:
        return Denied("BadSessionKey", "the session key is no point of P-256")
    if isinstance(statement, signing.Rotation):
        return Allowed(0)
    if statement.amount == 0:
        return Denied("NoAmount", "asked to split off 0 seconds")
    if statement.amount > lease.seconds:
        return Denied(
            "SplitTooLarge",
            f"the lease has {lease.seconds} s, asked to split off {statement.amount} s",
            {"most": lease.seconds, "asked_s": statement.amount},
        )
    return _ended(lease.window, now_s, window_seconds) or Allowed(lease.seconds - statement.amount)


async def _redeemable(
    db: ReadDb,
    credit_id: CreditId,
    holder: Address,
    amount: int,
    *,
    now_s: int,
    window_seconds: int,
    key: bytes | None = None,
) -> Decision:
    """What Access asks wherever credits are burnt for a lease. key: the session key, where there is a new one."""
    asset, window, _tranche = credit_parts(credit_id)
    if amount == 0:
        return Denied("NoAmount", "asked to redeem 0 seconds")
    row = await read.asset(db, asset)
    if row is None or await read.offer(db, credit_id) is None:
        return Denied("NotOpen", f"no open offer for credit {credit_id}")
    denied = _ended(window, now_s, window_seconds) or await _inactive(db, holder, now_s) or _lapsed(row, now_s)
    if denied:
        return denied
    if key is not None and p256.p256_key(key) is None:
        return Denied("BadSessionKey", "the session key is no point of P-256")
    held = await read.credit_seconds(db, credit_id, holder)
    if held < amount:
        return Denied(
            "ERC6909InsufficientBalance",
            f"{address_text(holder)} holds {held} s of credit {credit_id}, asked to redeem {amount} s",
            {"held_s": held, "asked_s": amount},
        )
    limits = await class_limits(db, row.class_id)
    root = await read.root_of(db, holder)
    redeemed = await read.redeemed_by(db, row.class_id, window, root)
    return rules.redeem(
        limits, root=root, redeemed=redeemed, added=amount, window=window, window_seconds=window_seconds
    )


async def _replaced(db: ReadDb, account: Address) -> Denied | None:
    """Who was replaced can neither send nor act."""
    row = await read.member(db, account)
    if row is None or row.successor is None:
        return None
    return Denied("Replaced", f"{address_text(account)} was replaced by {address_text(row.successor)}")


async def _refusing(db: ReadDb, account: Address, *, asked: bool) -> Denied | None:
    """Who refuses gifts takes only what it asked for."""
    row = await read.member(db, account)
    if asked or row is None or not row.refuses_gifts:
        return None
    return Denied("RefusesGifts", f"{address_text(account)} takes only what it asks for itself")


async def _inactive(db: ReadDb, account: Address, now_s: int) -> Denied | None:
    row = await read.member(db, account)
    if row is None:
        return Denied("NotActiveMember", f"{address_text(account)} is not a member")
    if row.successor is not None:
        return Denied("NotActiveMember", f"{address_text(account)} was replaced by {address_text(row.successor)}")
    if row.until <= now_s:
        return Denied("NotActiveMember", f"membership of {address_text(account)} lapsed at {row.until}, now is {now_s}")
    return None


def _ended(window: Window, now_s: int, window_seconds: int) -> Denied | None:
    current = now_s // window_seconds
    if window < current:
        return Denied("WindowNotOpen", f"window {window} has ended, the current one is {current}", {"current": current})
    return None


def _lapsed(row: read.AssetRow, now_s: int) -> Denied | None:
    if row.expires_at <= now_s:
        return Denied("AssetNotLive", f"the appraisal of asset {row.asset} expired at {row.expires_at}, now is {now_s}")
    return None  # what is retired has lapsed
