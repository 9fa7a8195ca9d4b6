"""What the chain's views say, beside what the reference model says: whole states, account by account."""

from collections.abc import Iterator

from commonhold.chain.deployment import ContractName
from commonhold.signing import ZERO32
from commonhold.units import Hash32
from tests.actors import Deployed, address_of
from tests.models.ledger import Ledgers
from tests.models.play_council import word
from tests.models.playing import EVERYONE
from tests.models.settings import OF_CLASS

View = tuple[ContractName, str, tuple[object, ...], object]  # contract, function, arguments, what the model says

ACCOUNTS = tuple(address_of(role) for role in EVERYONE)


async def compare(deployed: Deployed, model: Ledgers) -> None:
    """Every view answers at the newest block what the model says of it."""
    at = await deployed.rpc.head()
    model.number, model.now_s = at.number, at.timestamp
    views = [*_of_members(model), *_of_units(model), *_of_seconds(model), *_of_settings(model)]
    for name, function, args, expected in views:
        got = await deployed.rpc.call(name, deployed.deployment.address_of(name), function, *args, at=at)
        if isinstance(expected, frozenset):  # a set has no order
            got = frozenset(got)
        assert got == expected, f"{name}.{function}{args}: chain {got}, model {expected}"


def _of_members(model: Ledgers) -> Iterator[View]:
    yield "Members", "groups", (), model.group_count(model.now_s)
    for account in ACCOUNTS:
        yield "Members", "pathOf", (account,), tuple(model.path_of(account))
        yield "Members", "isActive", (account,), model.is_active(account)
        yield "Members", "getPastVotes", (account, model.now_s - 1), model.past_votes(account, model.now_s - 1)


def _of_units(model: Ledgers) -> Iterator[View]:
    for class_ in model.classes:
        yield "Ledger", "capBase", (class_,), model.cap_base(class_)
        for account in ACCOUNTS:
            yield "Ledger", "heldBy", (class_, account), model.held_by(class_, account)
    for asset in model.assets:
        for account in (*ACCOUNTS, model.genesis.ledger):
            yield "Ledger", "balanceOf", (account, asset), model.balance("Ledger", account, asset)
            yield "Ledger", "revenueOf", (asset, account), model.revenue_of(asset, account)
    for account in ACCOUNTS:
        yield "Ledger", "commonsRevenueOf", (account,), model.commons_revenue_of(account)
    yield "Coin", "balanceOf", (model.genesis.access,), model.coins.get(model.genesis.access, 0)


def _of_seconds(model: Ledgers) -> Iterator[View]:
    for class_ in model.classes:
        for window in range(model.current_window(), model.current_window() + model.genesis.horizon + 1):
            for account in ACCOUNTS:
                key = (class_, window, account)
                yield "Access", "acquiredBy", key, model.acquired.get(key, 0)
                yield "Access", "redeemedBy", key, model.redeemed.get(key, 0)
    for lease, found in model.leases.items():
        yield "Meter", "settledMs", (lease,), found.settled_ms


def _of_settings(model: Ledgers) -> Iterator[View]:
    settings: list[tuple[ContractName, str, Hash32]] = [
        ("Members", "threshold", ZERO32),
        ("Members", "admissionsPerDay", ZERO32),
        ("Ledger", "threshold", ZERO32),
        *(("Ledger", name, class_) for class_ in model.classes for name in OF_CLASS),
    ]
    for contract, name, subject in settings:
        yield contract, "settingOf", (word(name), subject), model.setting(contract, name, subject)
    yield "Members", "attesters", (), model.signers["Members"]
    yield "Ledger", "appraisers", (), model.signers["Ledger"]
