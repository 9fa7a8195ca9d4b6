"""One event on its way into the state: what handlers share, and the table in which each event finds its handler.

A handler first names what it needs, then checks and writes. So an event can be begun again when something of it is not
known yet: an audit that starts in the middle of the chain reads that from the contracts (base.py).
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar

from commonhold.anchor.audit.rules import Rule
from commonhold.anchor.audit.state import ZERO, Asset, Balances, PerRoot, State, add
from commonhold.chain.events import ChainEvent
from commonhold.units import Address, Hash32, address_text, credit_parts, hex_text

Key = tuple[str, *tuple[Any, ...]]  # kind of fact, and what of it: ("holding", asset, owner)
Handler = Callable[["Step", Any], None]
H = TypeVar("H", bound=Handler)

HANDLERS: Final[dict[type, Handler]] = {}


class Missing(Exception):
    """The state does not know this yet; nothing was changed."""

    def __init__(self, keys: list[Key]) -> None:
        super().__init__(f"not known yet: {keys}")
        self.keys = keys


class Unknown(Exception):
    """There is no such thing on the chain."""


def on(*kinds: type[ChainEvent]) -> Callable[[H], H]:
    """The function takes in the events of these kinds."""

    def register(handler: H) -> H:
        for kind in kinds:
            if kind in HANDLERS:
                raise ValueError(f"{kind.__name__} has two handlers: {HANDLERS[kind]} and {handler}")
            HANDLERS[kind] = handler
        return handler

    return register


class Step:
    """The block that an event is in, and the state that it changes."""

    __slots__ = ("block", "now_s", "state")

    def __init__(self, state: State, block: int, now_s: int) -> None:
        self.state, self.block, self.now_s = state, block, now_s

    def need(self, *keys: Key) -> None:
        """All of this is known. Raises Missing; never where the history was read from its beginning."""
        known = self.state.known
        if known is not None and (missing := dict.fromkeys(key for key in keys if key not in known)):
            raise Missing(list(missing))

    def asset(self, asset: int) -> Asset:
        """Raises Unknown."""
        self.need(("asset", asset))
        if (found := self.state.assets.get(asset)) is None:
            raise Unknown(f"asset {asset}")
        return found

    def root(self, account: Address) -> Address:
        """The root of the account's group; itself where it is nobody's member."""
        if self.state.known is not None:
            self.need(("member", account))
            while (member := self.state.members.get(account)) and member.controller:
                account = member.controller
                self.need(("member", account))
        return self.state.root_of(account)

    def counting(self, account: Address) -> list[Address]:
        """In whose totals counts what the account has, its root last.

        The root alone; where the audit began in the middle, everybody on the way to it, as the contracts count: what
        leaves a group then is a total that can be read.
        """
        root, state = self.root(account), self.state
        if state.known is None:
            return [root]
        path = [account]
        while (member := state.members.get(path[-1])) and member.controller:
            path.append(member.controller)
        return path

    def check(self, rule: Rule, holds: bool, what: Callable[[], str]) -> None:
        """The rule was looked at; `what` says how it is broken."""
        if not self.state.found.check(rule, holds):
            self.fault(rule, what())

    def fault(self, rule: Rule, what: str) -> None:
        """The event breaks the rule."""
        self.state.found.fault(rule, f"block {self.block}: {what}")

    def move(self, balances: Balances, of: int, sender: Address, receiver: Address, amount: int) -> None:
        """Balances after a transfer, whoever of the two is zero."""
        if sender != ZERO:
            left = add(balances, (of, sender), -amount)
            self.check(Rule.BALANCES, left >= 0, lambda: f"{shown(sender)} sent {-left} more of {of} than it had")
        if receiver != ZERO:
            add(balances, (of, receiver), amount)

    def check_active(self, account: Address) -> None:
        """The account may receive."""
        member = self.state.members.get(account)
        active = member is not None and member.until > self.now_s
        self.check(Rule.ACTIVE, active, lambda: f"{shown(account)} received, and is no member")

    def check_use(self, used: dict[tuple[Hash32, int], PerRoot], class_id: Hash32, window: int, root: Address) -> None:
        """The group's seconds in the window are within its limit."""
        now, most = used.get((class_id, window), {}).get(root, 0), self.state.most_seconds(class_id, self.block)
        what = "acquired" if used is self.state.acquired else "redeemed"
        self.check(
            Rule.USE,
            now <= most,
            lambda: f"group {shown(root)} {what} {now} s in window {window}, at most {most} are allowed",
        )


def use_keys(class_id: Hash32, credit: int, *accounts: Address) -> list[Key]:
    """What must be known of the use of these, each with all it controls, to count it."""
    window = credit_parts(credit)[1]
    return [("use", class_id, window, account) for account in accounts]


def shown(value: object) -> str:
    """As people see it on a page or in an explorer."""
    if isinstance(value, bytes):
        return address_text(value) if len(value) == 20 else hex_text(value)
    return str(value)
