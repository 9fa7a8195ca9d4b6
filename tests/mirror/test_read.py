from itertools import takewhile

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.chain import events as e
from commonhold.db import read, write
from commonhold.errors import Unavailable
from commonhold.mirror import read as mirror
from commonhold.mirror.apply import apply
from commonhold.signing import ZERO32
from commonhold.units import AssetId, Units, Window, class_id
from tests.mirror.history import (
    AFFILIATE,
    CORPUS,
    DEVELOPER,
    GPUS,
    GRANTED,
    HEIR,
    HISTORY,
    LEASE,
    LEDGER,
    NOBODY,
    NODE,
    PART,
    PROVIDER,
    SOLD,
    STRANGER,
    TEXT,
    WINDOW,
    hash32,
    play,
    stamp,
)

# What happens before anybody joins, leaves or is replaced.
NOT_GROUPED = tuple(
    event
    for event in takewhile(lambda event: not isinstance(event, e.GiftsRefused), HISTORY)
    if not isinstance(event, e.Attached | e.Settled)
)


async def test_empty_mirror_has_no_position(engine: AsyncEngine) -> None:
    async with read(engine) as db:
        with pytest.raises(Unavailable, match="mirror empty"):
            await mirror.position(db)


async def test_what_is_not_there_is_none_or_nothing(engine: AsyncEngine) -> None:
    async with read(engine) as db:
        assert await mirror.member(db, STRANGER) is None
        assert await mirror.root_of(db, STRANGER) == STRANGER
        assert await mirror.asset_class(db, GPUS) is None
        assert await mirror.asset(db, NODE) is None
        assert await mirror.offer(db, GRANTED) is None
        assert await mirror.lease(db, LEASE) is None
        assert await mirror.holding(db, NODE, PROVIDER) == 0
        assert await mirror.credit_seconds(db, GRANTED, DEVELOPER) == 0
        assert await mirror.held_by(db, GPUS, PROVIDER) == 0
        assert await mirror.acquired_by(db, GPUS, WINDOW, DEVELOPER) == 0
        assert await mirror.issued(db, NODE, WINDOW) == 0
        assert await mirror.group_holdings(db, GPUS) == []


async def test_units_and_seconds_count_per_account_before_groups_join(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        for number, event in enumerate(NOT_GROUPED, start=1):
            await apply(db, stamp(number), event)

    async with read(engine) as db:
        assert await mirror.group_holdings(db, GPUS) == [(PROVIDER, 1_501_000), (AFFILIATE, 500_000)]
        assert await mirror.held_by(db, GPUS, PROVIDER) == 1_501_000
        assert await mirror.acquired_by(db, GPUS, WINDOW, DEVELOPER) == 3_100 + 100
        assert await mirror.redeemed_by(db, GPUS, WINDOW, DEVELOPER) == 3_100
        assert await mirror.acquired_by(db, GPUS, WINDOW, AFFILIATE) == 500


async def test_units_and_seconds_count_for_the_root_of_a_group(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await play(db)

    async with read(engine) as db:
        # The affiliate left with the developer, and the heir stands in its place.
        assert [await mirror.root_of(db, member) for member in (AFFILIATE, DEVELOPER, HEIR)] == [HEIR] * 3
        assert await mirror.group_holdings(db, GPUS) == [(PROVIDER, 1_501_000), (HEIR, 500_000)]
        assert await mirror.held_by(db, GPUS, HEIR) == 500_000
        assert await mirror.held_by(db, GPUS, AFFILIATE) == 0
        assert await mirror.held_by(db, TEXT, HEIR) == 0  # retired, and synced
        assert await mirror.acquired_by(db, GPUS, WINDOW, HEIR) == 3_100 + 100 + 500
        assert await mirror.redeemed_by(db, GPUS, WINDOW, HEIR) == 3_100
        assert await mirror.acquired_by(db, GPUS, WINDOW, PROVIDER) == 0
        assert await mirror.acquired_by(db, GPUS, Window(WINDOW + 1), HEIR) == 0
        assert await mirror.acquired_by(db, TEXT, WINDOW, HEIR) == 0


async def test_commons_is_in_nobodys_group(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await play(db)

    async with read(engine) as db:
        assert await mirror.holding(db, NODE, LEDGER) == 5_999_000
        assert await mirror.held_by(db, GPUS, LEDGER) == 0
        assert LEDGER not in dict(await mirror.group_holdings(db, GPUS))


async def test_issued_counts_held_and_redeemed_credits_of_every_tranche(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await play(db)

    async with read(engine) as db:
        assert await mirror.issued(db, NODE, WINDOW) == 3_600 + 100
        assert await mirror.issued(db, NODE, Window(WINDOW + 1)) == 0
        assert await mirror.issued(db, CORPUS, WINDOW) == 0


async def test_groups_that_own_the_same_are_in_order_of_address(engine: AsyncEngine) -> None:
    other = class_id("data/other")
    async with write(engine) as db:
        await apply(db, stamp(1), e.ClassCreated(other, "data/other", 0, "MB", 10_000, 10_000, 0, Units(1)))
        for owner in (PROVIDER, AFFILIATE, DEVELOPER):
            await apply(db, stamp(2), e.Admitted(owner, hash32(owner.hex()[:30]), 1, 9))
        registered = e.Registered(
            AssetId(5), other, PROVIDER, Units(9), 0, "", hash32("c"), hash32("r"), (), ZERO32, ZERO32, 5, ""
        )
        await apply(db, stamp(3), registered)
        for owner, units in ((PROVIDER, 2), (DEVELOPER, 5), (AFFILIATE, 2)):
            await apply(db, stamp(3), e.Transfer("Ledger", PROVIDER, NOBODY, owner, AssetId(5), units))

    async with read(engine) as db:
        assert await mirror.group_holdings(db, other) == [(DEVELOPER, 5), (AFFILIATE, 2), (PROVIDER, 2)]


async def test_filters_leave_only_what_was_asked_for(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await play(db)

    async with read(engine) as db:
        assert [h.owner for h in await mirror.holdings(db, asset=CORPUS)] == [HEIR]
        assert [h.asset for h in await mirror.holdings(db, owner=AFFILIATE)] == [NODE]
        assert [h.units for h in await mirror.holdings(db, asset=NODE, owner=AFFILIATE)] == [500_000]
        assert [o.credit_id for o in await mirror.offers(db, NODE)] == [GRANTED, SOLD]
        assert await mirror.offers(db, CORPUS) == []
        assert [found.lease for found in await mirror.leases(db, holder=DEVELOPER, asset=NODE)] == [LEASE, PART]
        assert await mirror.leases(db, holder=PROVIDER) == []
        assert await mirror.leases(db, asset=CORPUS) == []
        assert [a.epoch for a in await mirror.anchors(db, STRANGER)] == [0, 1]
        assert await mirror.anchors(db, PROVIDER) == []
        assert [asset.asset for asset in await mirror.assets(db)] in ([CORPUS, NODE], [NODE, CORPUS])
