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
    held = await read.holding(db, asset, sender)
    if held < units:
        return Denied(
            "ERC6909InsufficientBalance",
            f"{address_text(sender)} holds {units_text(held)} of asset {asset}, asked to send {units_text(units)}",
            {"held_units": held, "asked_units": units},
        )
    if denied := await _inactive(db, receiver, now_s):
        return denied
    limits = await class_limits(db, row.class_id)
    root = await read.root_of(db, receiver)
    held_by_group = await read.held_by(db, row.class_id, root)
    if root == await read.root_of(db, sender):
        return Allowed(max(0, limits.most_units - held_by_group))
    return rules.hold(limits, root=root, held=held_by_group, added=units)


async def acquisition(
    db: ReadDb, *, credit_id: CreditId, receiver: Address, seconds: int, now_s: int, window_seconds: int
) -> Decision:
    """Whether Access would issue `seconds` credits to `receiver`, granted or bought."""
    asset, window, _tranche = credit_parts(credit_id)
    row = await read.asset(db, asset)
    if row is None or await read.offer(db, credit_id) is None:
        return Denied("NotOpen", f"no open offer for credit {credit_id}")
    if denied := _ended(window, now_s, window_seconds):
        return denied
    issued = await read.issued(db, asset, window)
    decision = rules.issue(
        asset=asset, window=window, issued=issued, added=seconds, units=row.units, window_seconds=window_seconds
    )
    if isinstance(decision, Denied):
        return decision
    if denied := await _inactive(db, receiver, now_s):
        return denied
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
    asset, window, _tranche = credit_parts(redemption.id)
    if now_s > redemption.deadline:
        return Denied("DeadlinePassed", f"the redemption's deadline was {redemption.deadline}, now is {now_s}")
    if redemption.amount == 0:
        return Denied("NoAmount", "asked to redeem 0 seconds")
    if p256.p256_key(redemption.key_x + redemption.key_y) is None:
        return Denied("BadSessionKey", "the session key is no point of P-256")
    row = await read.asset(db, asset)
    if row is None or await read.offer(db, CreditId(redemption.id)) is None:
        return Denied("NotOpen", f"no open offer for credit {redemption.id}")
    denied = (
        _ended(window, now_s, window_seconds)
        or _lapsed(row.asset, row.expires_at, now_s)
        or await _inactive(db, redemption.holder, now_s)
    )
    if denied:
        return denied
    limits = await class_limits(db, row.class_id)
    root = await read.root_of(db, redemption.holder)
    decision = rules.redeem(
        limits,
        root=root,
        redeemed=await read.redeemed_by(db, row.class_id, window, root),
        added=redemption.amount,
        window=window,
        window_seconds=window_seconds,
    )
    if isinstance(decision, Denied):
        return decision
    held = await read.credit_seconds(db, CreditId(redemption.id), redemption.holder)
    if held < redemption.amount:
        return Denied(
            "ERC6909InsufficientBalance",
            f"{address_text(redemption.holder)} holds {held} s of credit {redemption.id}, asked to redeem "
            f"{redemption.amount} s",
            {"held_s": held, "asked_s": redemption.amount},
        )
    return decision


async def _inactive(db: ReadDb, account: Address, now_s: int) -> Denied | None:
    row = await read.member(db, account)
    if row is None:
        return Denied("NotActiveMember", f"{address_text(account)} is not a member")
    if row.until <= now_s:
        return Denied("NotActiveMember", f"membership of {address_text(account)} lapsed at {row.until}, now is {now_s}")
    return None


def _ended(window: Window, now_s: int, window_seconds: int) -> Denied | None:
    current = now_s // window_seconds
    if window < current:
        return Denied("WindowNotOpen", f"window {window} has ended, the current one is {current}", {"current": current})
    return None


def _lapsed(asset: AssetId, expires_at: int, now_s: int) -> Denied | None:
    if expires_at <= now_s:
        return Denied("AssetNotLive", f"the appraisal of asset {asset} expired at {expires_at}, now is {now_s}")
    return None
