"""Where an audit begins in the middle of the chain: what events of later blocks touch, read as it stood before them.

Sound is what this can say of the blocks from there on: every rule at every event, and that everything that was touched
ends where it began plus what its events say. It cannot say what nobody touched, nor who owns what nobody moved; so such
an audit has no sums over all, and no concentration. The block before is linked to the audited one by hashes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from commonhold.anchor.audit.questions import QUORUMS, Question, Reader
from commonhold.anchor.audit.state import (
    UNREAD,
    ZERO,
    Appraisal,
    Asset,
    Class,
    Lease,
    Member,
    Setting,
    Signer,
    State,
)
from commonhold.anchor.audit.step import Key
from commonhold.chain import events
from commonhold.chain.stamp import BlockStamp
from commonhold.signing import ZERO32
from commonhold.units import Hash32, Units, credit_parts, hex_text

_ASSET: Final = (ZERO32, ZERO, 0, 0, False, 0, ZERO32, ZERO32, ZERO32, ZERO32, 0)
_LEASE: Final = (ZERO, 0, 0, 0, 0, False, 0, 0, 0, 0, ZERO32, ZERO32)


class Base:
    """Reads at the block before the first one that is audited."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    @property
    def at(self) -> BlockStamp:
        """The block that everything is read at."""
        return self._reader.at

    async def begin(self, state: State) -> None:
        """The state knows the classes, and that it knows nothing else."""
        state.known = set()
        for name in QUORUMS:
            accounts, threshold = await self._reader.signers(name)
            state.settings[name, "threshold", ZERO32] = Setting(threshold)
            state.signers.update({(name, account): Signer(True) for account in accounts})
        for class_id in await self._reader.items("Ledger", "classIds"):
            limits = Question("Ledger", "classOf", (class_id,), (0,) * 6)
            kind, hold_bps, use_bps, min_level, floor_units, total = (await self._reader.read([limits]))[0][:6]
            created = events.ClassCreated(
                class_id, hex_text(class_id), kind, UNREAD, hold_bps, use_bps, min_level, Units(floor_units)
            )
            state.classes[class_id] = Class(created, total)

    async def load(self, state: State, keys: Sequence[Key]) -> None:
        """The state knows these facts."""
        kinds = [KINDS[key[0]] for key in keys]
        asked = [kind.asks(*key[1:]) for kind, key in zip(kinds, keys, strict=True)]
        answers = iter(await self._reader.read([question for some in asked for question in some]))
        for kind, key, some in zip(kinds, keys, asked, strict=True):
            kind.put(state, key[1:], [next(answers) for _ in some])
        await self._former_keys(state, [key[1] for key in keys if key[0] == "lease"])
        if state.known is not None:
            state.known.update(keys)

    async def _former_keys(self, state: State, leases: Sequence[Hash32]) -> None:
        """The leases have their session keys from the first one on: receipts may still be signed by those."""
        kept = {lease: found for lease in leases if (found := state.leases.get(lease))}
        places = [(lease, number) for lease, found in kept.items() for number in range(found.key_number)]
        asked = [Question("Access", "keyOf", each, (ZERO32, ZERO32, 0)) for each in places]
        for (lease, _), (x, y, until) in zip(places, await self._reader.read(asked) if asked else (), strict=True):
            kept[lease].former_keys.append((x + y, until))


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fact: what is asked, and how the state keeps it. Of a question, `expected` is only the form."""

    asks: Callable[..., tuple[Question, ...]]
    put: Callable[[State, tuple[Any, ...], list[Any]], None]


def _member(state: State, key: tuple[Any, ...], got: list[Any]) -> None:
    (controller, since, until, refuses), successor, detach_ready_at, (heir, recovery_ready_at) = got[0][:4], *got[1:]
    if since:
        above = None if controller == ZERO else controller
        state.members[key[0]] = Member(
            *(ZERO32, since, until, above, above is None, refuses, None if successor == ZERO else successor),
            detach_ready_at=detach_ready_at or None,
            recovery_to=None if heir == ZERO else heir,
            recovery_ready_at=recovery_ready_at or None,
        )


def _asset(state: State, key: tuple[Any, ...], got: list[Any]) -> None:
    class_id, operator, expires_at, level, retired, units, content, result, key_x, key_y, price = got[0][:11]
    if class_id == ZERO32:
        return
    registered = events.Registered(
        *(key[0], class_id, operator, units, level, UNREAD, content, result, (), key_x, key_y, expires_at, UNREAD)
    )
    appraisal = Appraisal(0, expires_at, level, UNREAD, content, result, key_x + key_y)
    state.assets[key[0]] = Asset(registered, [appraisal], operator, retired, price)


def _device(state: State, key: tuple[Any, ...], got: list[Any]) -> None:
    if got[0]:
        state.devices[key[0]] = got[0]


def _offer(state: State, key: tuple[Any, ...], got: list[Any]) -> None:
    is_open, price = got[0]
    if is_open:
        state.offers[key[0]] = events.Opened(key[0], *credit_parts(key[0]), price)


def _lease(state: State, key: tuple[Any, ...], got: list[Any]) -> None:
    holder, starts_at, level, changes, number, refunded, credit, amount, settled_ms, price, *point = got[0]
    if holder != ZERO:
        redeemed = events.Redeemed(key[0], holder, credit, amount, starts_at, level, *point)
        paid = price * settled_ms // 1000
        back = price * amount - paid if refunded else None
        state.leases[key[0]] = Lease(redeemed, 0, settled_ms, paid, price, number, changes, None, back)


def _use(state: State, key: tuple[Any, ...], got: list[Any]) -> None:
    class_id, window, root = key
    for used, seconds in zip((state.acquired, state.redeemed), got, strict=True):
        _set(used.setdefault((class_id, window), {}), root, seconds)


def _anchor(state: State, key: tuple[Any, ...], got: list[Any]) -> None:
    if got[0]:
        state.next_epoch[key[0]], state.last_anchor[key[0]] = got


def _ask(contract: Any, function: str, form: Any, order: Callable[..., tuple[Any, ...]] = lambda *key: key) -> Any:
    return lambda *key: (Question(contract, function, order(*key), form),)


def _turned(one: Any, other: Any) -> tuple[Any, ...]:
    return (other, one)


KINDS: Final[dict[str, Kind]] = {
    "member": Kind(
        lambda who: (
            Question("Members", "memberOf", (who,), (ZERO, 0, 0, False)),
            Question("Members", "successorOf", (who,), ZERO),
            Question("Members", "detachmentOf", (who,), 0),
            Question("Members", "recoveryOf", (who,), (ZERO, 0)),
        ),
        _member,
    ),
    "asset": Kind(_ask("Ledger", "assetOf", _ASSET), _asset),
    "device": Kind(_ask("Ledger", "assetOfDevice", 0), _device),
    "holding": Kind(
        _ask("Ledger", "balanceOf", 0, _turned), lambda state, key, got: _set(state.holdings, (key[0], key[1]), got[0])
    ),
    "held": Kind(
        _ask("Ledger", "heldBy", 0), lambda state, key, got: _set(state.held.setdefault(key[0], {}), key[1], got[0])
    ),
    "offer": Kind(_ask("Access", "priceOf", (True, 0)), _offer),
    "credit": Kind(
        _ask("Access", "balanceOf", 0, _turned), lambda state, key, got: _set(state.credits, (key[0], key[1]), got[0])
    ),
    "issued": Kind(_ask("Access", "issued", 0), lambda state, key, got: _set(state.issued, (key[0], key[1]), got[0])),
    "use": Kind(
        lambda *key: (Question("Access", "acquiredBy", key, 0), Question("Access", "redeemedBy", key, 0)), _use
    ),
    "lease": Kind(
        lambda lease: (Question("Access", "leaseOf", (lease,), _LEASE),),
        _lease,
    ),
    "delivered": Kind(
        _ask("Meter", "deliveredMs", 0),
        lambda state, key, got: _set(state.delivered, (key[0], key[1], key[2], key[3]), got[0]),
    ),
    "anchor": Kind(
        lambda who: (Question("Meter", "nextEpoch", (who,), 0), Question("Meter", "lastAnchor", (who,), ZERO32)),
        _anchor,
    ),
}


def _set(sums: dict[Any, int], key: Any, amount: int) -> None:
    if amount:
        sums[key] = amount
