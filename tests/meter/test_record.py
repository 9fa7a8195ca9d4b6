"""Segments become rows once, in any order; what does not fit is refused and, when it is evidence, kept."""

import asyncio
import json
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.db import read, write
from commonhold.meter import tables as t
from commonhold.meter.gaps import gaps
from commonhold.meter.read import segments, used_ms
from commonhold.meter.record import Duplicate, Outcome, Recorded, Rejected, record, record_all
from commonhold.meter.segment import Reading, SignedSegment
from commonhold.mirror import tables as mirrored
from commonhold.signing import ZERO32
from commonhold.units import UNIT, Hash32
from tests.meter import world
from tests.meter.world import ASSET, DOMAIN, EXPIRES_S, GPUS, LATER_S, LEASE, NOW_MS, NOW_S, SECOND_LEASE, Node

pytestmark = pytest.mark.usefixtures("mirror")


@pytest.fixture
async def mirror(engine: AsyncEngine) -> None:
    await world.fill(engine)


async def sent(engine: AsyncEngine, *batch: SignedSegment, now_s: int = LATER_S) -> list[Outcome]:
    async with write(engine) as db:
        return await record_all(db, batch, now_s=now_s, domain=DOMAIN)


async def stored(engine: AsyncEngine) -> list[tuple[int, int]]:
    async with read(engine) as db:
        rows = await db.execute(sa.select(t.segment.c.boot, t.segment.c.sequence).order_by("boot", "sequence"))
        return [tuple(row) for row in rows]


async def rejected(engine: AsyncEngine, signed: SignedSegment, code: str, says: str, *, now_s: int = LATER_S) -> None:
    before = await stored(engine)
    (outcome,) = await sent(engine, signed, now_s=now_s)
    assert isinstance(outcome, Rejected), outcome
    assert outcome.code == code
    assert says in outcome.reason
    assert await stored(engine) == before


async def test_segment_sent_twice_is_stored_once(engine: AsyncEngine) -> None:
    signed = Node().work()

    first, again = await sent(engine, signed), await sent(engine, signed, signed)

    digest = signed.digest(DOMAIN)
    assert (first, again) == ([Recorded(digest)], [Duplicate(digest), Duplicate(digest)])
    async with read(engine) as db:
        assert await segments(db, LEASE) == [signed]
        assert await used_ms(db, LEASE) == 3 * 800 * GPUS


async def test_one_bad_segment_holds_up_no_other(engine: AsyncEngine) -> None:
    node = Node()
    good, better = node.work(), node.work()
    bad = Node(key=world.STRANGER, boot=NOW_MS + 50_000, now_ms=NOW_MS + 50_000).work(SECOND_LEASE)

    outcomes = await sent(engine, good, bad, better)

    assert [type(outcome) for outcome in outcomes] == [Recorded, Rejected, Recorded]


async def test_other_content_under_a_taken_key_is_kept_as_evidence(engine: AsyncEngine) -> None:
    signed, other = Node().work(), Node().work(busy_ms=900)
    await sent(engine, signed)

    await rejected(engine, other, "equivocation", "key")
    await rejected(engine, other, "equivocation", signed.digest(DOMAIN).hex())

    async with read(engine) as db:
        (row,) = (await db.execute(sa.select(t.equivocation))).all()
        assert (row.digest, row.taken, row.what) == (other.digest(DOMAIN), signed.digest(DOMAIN), "key")
        assert SignedSegment.from_json(json.loads(row.body)) == other
        assert await segments(db, LEASE) == [signed]


async def test_two_continuations_of_one_chain_are_evidence(engine: AsyncEngine) -> None:
    node = Node()
    first = node.work()
    fork = Node(sequence=9, now_ms=node.now_ms + 5_000, heads={LEASE: first.segment.previous}).work()
    await sent(engine, first)

    await rejected(engine, fork, "equivocation", "chain")

    async with read(engine) as db:
        assert (await db.execute(sa.select(t.equivocation.c.what))).scalars().all() == ["chain"]


async def test_both_in_one_batch_are_an_equivocation_too(engine: AsyncEngine) -> None:
    signed, other = Node().work(), Node().work(busy_ms=900)

    outcomes = await sent(engine, signed, other)

    assert [type(outcome) for outcome in outcomes] == [Recorded, Rejected]
    async with read(engine) as db:
        assert (await db.execute(sa.select(t.equivocation.c.digest))).scalars().all() == [other.digest(DOMAIN)]


async def test_a_stranger_makes_no_evidence(engine: AsyncEngine) -> None:
    await sent(engine, Node().work())

    await rejected(engine, Node(key=world.STRANGER).work(busy_ms=900), "invalid", "not by the asset's meter key")

    async with read(engine) as db:
        assert (await db.execute(sa.select(t.equivocation))).all() == []


async def test_missing_segments_are_gaps_until_they_arrive(engine: AsyncEngine) -> None:
    node = Node()
    run = [node.work() for _ in range(6)]

    await sent(engine, run[2])
    async with read(engine) as db:
        assert [(g.first_missing, g.last_missing, g.from_ms, g.until_ms) for g in await gaps(db)] == [
            (0, 1, NOW_MS, NOW_MS + 6_000)
        ]
    await sent(engine, run[5])
    await sent(engine, run[0])
    async with read(engine) as db:
        assert [(g.first_missing, g.last_missing) for g in await gaps(db, ASSET)] == [(1, 1), (3, 4)]  # type: ignore[arg-type]
    await sent(engine, run[4], run[1], run[3])
    async with read(engine) as db:
        assert await gaps(db) == []
        assert await segments(db, LEASE) == run


async def test_boots_count_for_themselves(engine: AsyncEngine) -> None:
    node = Node()
    first = node.work()
    node.restart()
    second = node.work()
    node.restart()
    node.sequence = 1  # its first one is lost
    third = node.work()

    outcomes = await sent(engine, third, second, first)

    assert all(isinstance(outcome, Recorded) for outcome in outcomes)
    async with read(engine) as db:
        assert [(g.boot, g.first_missing, g.last_missing) for g in await gaps(db)] == [(third.segment.boot, 0, 0)]


async def test_leases_take_turns_on_a_node(engine: AsyncEngine) -> None:
    node = Node()
    one, two, three = node.work(), node.work(SECOND_LEASE), node.work()

    assert [type(outcome) for outcome in await sent(engine, one, two, three)] == [Recorded] * 3


async def test_time_sold_twice_is_refused(engine: AsyncEngine) -> None:
    await sent(engine, Node().work())
    same_time = Node(sequence=1, boot=NOW_MS - 1, now_ms=NOW_MS + 1_000)

    await rejected(engine, same_time.work(SECOND_LEASE), "misfit", "overlaps")


async def test_count_that_runs_against_time_is_refused(engine: AsyncEngine) -> None:
    node = Node()
    await sent(engine, node.work(), Node(sequence=5, now_ms=NOW_MS + 10_000).work(SECOND_LEASE))
    node.sequence = 6

    await rejected(engine, node.work(), "misfit", "not in the order of its time")


async def test_total_that_falls_is_refused(engine: AsyncEngine) -> None:
    node = Node()
    await sent(engine, node.work())
    node.totals[LEASE] = 0

    await rejected(engine, node.work(), "misfit", "total falls")


async def test_restarted_chain_is_refused(engine: AsyncEngine) -> None:
    node = Node()
    node.work()
    await sent(engine, node.work())
    node.heads.clear()

    await rejected(engine, node.work(), "misfit", "starts the lease's chain")


@pytest.mark.parametrize("readings", [1, 2])
async def test_more_gpu_time_than_wall_clock_is_refused(engine: AsyncEngine, readings: int) -> None:
    just, over = (
        [Reading(NOW_MS + 1_000, 1_000 * GPUS - 1), Reading(NOW_MS + 1_500, 1_500 * GPUS - 1 + more)][-readings:]
        for more in (0, 2)
    )

    await rejected(engine, Node().sealed(LEASE, NOW_MS, over), "misfit", "wall-clock")
    assert isinstance((await sent(engine, Node().sealed(LEASE, NOW_MS, just)))[0], Recorded)


async def test_gpu_time_hidden_in_a_hole_is_refused(engine: AsyncEngine) -> None:
    node = Node()
    first = node.work()
    node.work()  # lost: 3,000 ms, in which at most 6,000 GPU-ms can have passed
    node.totals[LEASE] = first.segment.gpu_ms + 3_000 * GPUS + 1
    await sent(engine, first)

    await rejected(engine, node.work(busy_ms=1_000), "misfit", "wall-clock")


async def test_gpu_time_before_anything_known_is_bound_by_the_lease(engine: AsyncEngine) -> None:
    node = Node(heads={LEASE: Hash32(b"\5" * 32)}, totals={LEASE: 10 * 60_000 * GPUS}, sequence=4)

    await rejected(engine, node.work(), "misfit", "wall-clock")
    node.idle(8 * 60_000)
    assert isinstance((await sent(engine, node.work()))[0], Recorded)


async def test_late_segment_must_fit_what_came_after(engine: AsyncEngine) -> None:
    node = Node()
    first, late, last = node.work(), node.work(), node.work()
    await sent(engine, first, last)
    forged = Node(sequence=1, now_ms=NOW_MS + 3_000, heads={LEASE: Hash32(b"\6" * 32)}, totals={LEASE: 9_000})

    await rejected(engine, forged.work(busy_ms=1_000), "misfit", "next segment's begins with")
    assert isinstance((await sent(engine, late))[0], Recorded)


async def test_late_segment_that_hides_gpu_time_before_the_next_is_refused(engine: AsyncEngine) -> None:
    node = Node()
    first, late, last = node.work(), node.work(busy_ms=1_000), node.work(busy_ms=1_000)
    await sent(engine, first, last)
    forged = Node(sequence=1, now_ms=NOW_MS + 3_000, heads={LEASE: late.segment.previous}, totals={LEASE: 4_800})

    await rejected(engine, forged.work(busy_ms=0), "misfit", "wall-clock")


async def test_segment_between_two_linked_ones_is_refused(engine: AsyncEngine) -> None:
    node = Node()
    first = node.work()
    node.idle(10_000)
    node.sequence = 2
    await sent(engine, first, node.work())
    between = Node(sequence=1, now_ms=NOW_MS + 4_000, heads={LEASE: Hash32(b"\6" * 32)}, totals={LEASE: 4_800})

    await rejected(engine, between.work(), "misfit", "lies between")


async def test_expired_appraisal_is_refused(engine: AsyncEngine) -> None:
    node = Node(now_ms=EXPIRES_S * 1000 - 3_000)
    in_time, too_late = node.work(), node.work()

    assert isinstance((await sent(engine, in_time))[0], Recorded)
    await rejected(engine, too_late, "unknown", "renewals are known up to")  # the mirror may be behind one
    async with write(engine) as db:
        await db.execute(sa.update(mirrored.cursor).values(timestamp=EXPIRES_S + 60))
    await rejected(engine, too_late, "expired", "no appraisal")


async def test_time_before_the_first_appraisal_is_refused(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await db.execute(sa.update(mirrored.asset).values(appraised_at=NOW_S + 1_000))

    await rejected(engine, Node().work(), "expired", "no appraisal")


async def test_used_time_past_the_limit_is_recorded(engine: AsyncEngine) -> None:
    node = Node()
    limit_ms = world.SECONDS * 1000
    run = [node.work(readings=60, busy_ms=60_000, wall_ms=60_000)]

    assert run[-1].segment.gpu_ms > limit_ms
    assert isinstance((await sent(engine, *run))[0], Recorded)
    async with read(engine) as db:
        assert await used_ms(db, LEASE) == 2 * limit_ms


async def test_unknown_asset_or_lease_may_come_later(engine: AsyncEngine) -> None:
    await rejected(engine, Node(asset=5).work(), "unknown", "no asset")
    await rejected(engine, Node().work(Hash32(b"\x99" * 32)), "unknown", "no lease")
    await rejected(engine, Node().work(), "unknown", "now is", now_s=NOW_S - 600)
    async with read(engine) as db:
        assert (await db.execute(sa.select(t.node.c.asset))).scalars().all() == [ASSET]


async def test_lease_of_another_asset_is_refused(engine: AsyncEngine) -> None:
    await rejected(engine, Node().work(world.OTHER_LEASE), "invalid", "is of asset 78")


async def test_time_before_the_lease_is_refused(engine: AsyncEngine) -> None:
    early = Node(boot=NOW_MS - 200_000, now_ms=NOW_MS - 200_000)

    await rejected(engine, early.work(), "invalid", "the lease at")


async def test_batch_is_bounded(engine: AsyncEngine) -> None:
    with pytest.raises(ValueError, match="at most"):
        await sent(engine, *[Node().work()] * 1_001)


async def test_same_segment_posted_twice_at_once_is_one_row(engine: AsyncEngine) -> None:
    node = Node()
    run = [node.work() for _ in range(4)]

    both = await asyncio.gather(sent(engine, *run), sent(engine, *run), sent(engine, *reversed(run)))

    kinds: list[Any] = [type(outcome) for outcomes in both for outcome in outcomes]
    assert kinds.count(Recorded) == 4
    assert kinds.count(Duplicate) == 8
    assert len(await stored(engine)) == 4


async def test_conflicting_segments_posted_at_once_are_one_row_and_evidence(engine: AsyncEngine) -> None:
    rivals = [Node().work(busy_ms=busy_ms) for busy_ms in (500, 600, 700)]

    outcomes = await asyncio.gather(*(sent(engine, rival) for rival in rivals))

    assert sorted(type(outcome).__name__ for (outcome,) in outcomes) == ["Recorded", "Rejected", "Rejected"]
    async with read(engine) as db:
        assert len((await db.execute(sa.select(t.equivocation))).all()) == 2


async def test_failed_transaction_leaves_nothing_and_can_be_repeated(engine: AsyncEngine) -> None:
    signed = Node().work()

    async def dies() -> None:
        async with write(engine) as db:
            assert isinstance(await record(db, signed, now_s=LATER_S, domain=DOMAIN), Recorded)
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await dies()
    assert await stored(engine) == []
    assert isinstance((await sent(engine, signed))[0], Recorded)


async def test_gpus_come_from_the_appraised_units(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await db.execute(sa.update(mirrored.asset).values(units=UNIT))

    await rejected(engine, Node().work(), "misfit", "at most 1000 are possible")


def test_zero_is_the_first_previous() -> None:
    assert Node().work().segment.previous == ZERO32
