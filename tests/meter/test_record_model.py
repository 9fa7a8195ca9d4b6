"""record() against the plain model: random nodes, honest and not, in random order, with repeats."""

import random
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.db import write
from commonhold.meter import tables as t
from commonhold.meter.record import record_all
from commonhold.meter.segment import SignedSegment
from commonhold.units import UNIT, Hash32
from tests.meter import world
from tests.meter.world import DOMAIN, GPUS, LATER_S, LEASE, NOW_S, SECOND_LEASE, Node
from tests.models.metering import Meter

SEEDS = 40


def history(rng: random.Random) -> Iterator[SignedSegment]:
    """What one node signs: turns of two leases, pauses, restarts; some of it is lost."""
    node = Node()
    for _ in range(rng.randrange(1, 9)):
        match rng.randrange(6):
            case 0:
                node.idle(rng.randrange(1, 5_000))
            case 1:
                node.restart()
            case _:
                lease = rng.choice((LEASE, LEASE, SECOND_LEASE))
                busy_ms, readings = rng.choice((0, 500, 1_000)), rng.randrange(1, 4)
                signed = node.work(lease, readings=readings, busy_ms=busy_ms)
                if rng.random() < 0.8:
                    yield signed


def forgery(rng: random.Random, honest: list[SignedSegment]) -> SignedSegment:
    """Signed by the node itself, near an honest segment, and different from it in one or more ways."""
    near = rng.choice(honest).segment
    heads = {near.lease: rng.choice((near.previous, near.head, Hash32(rng.randbytes(32)), bytes(32)))}
    node = Node(
        boot=near.boot,
        now_ms=near.started_at_ms + rng.choice((0, 0, 500, 3_000)),
        sequence=near.sequence + rng.choice((0, 0, 1, 7)),
        heads={lease: Hash32(head) for lease, head in heads.items()},
        totals={near.lease: max(0, near.gpu_ms + rng.choice((-3_000, -1, 0, 1, 5_000)))},
    )
    return node.work(near.lease, readings=rng.randrange(1, 3), busy_ms=rng.choice((0, 700, 1_000, 1_001)))


def mail(rng: random.Random) -> list[SignedSegment]:
    honest = list(history(rng)) or [Node().work()]
    forged = [forgery(rng, honest) for _ in range(rng.randrange(4))]
    sent = honest + forged + rng.choices(honest + forged, k=rng.randrange(5))
    rng.shuffle(sent)
    return sent


async def rows(engine: AsyncEngine) -> tuple[object, ...]:
    async with write(engine) as db:
        segments = await db.execute(sa.select(t.segment.c.digest).order_by(t.segment.c.digest))
        evidence = await db.execute(sa.select(t.equivocation.c.digest, t.equivocation.c.what))
        g = t.gap.c
        gaps = await db.execute(
            sa.select(g.asset, g.boot, g.first_missing, g.last_missing).order_by(g.asset, g.boot, g.first_missing)
        )
        found = list(segments.scalars()), dict(map(tuple, evidence)), [tuple(row) for row in gaps]
        for table in (t.equivocation, t.segment, t.gap, t.node):
            await db.execute(sa.delete(table))
        return found


async def test_same_answers_and_rows_as_the_model(engine: AsyncEngine) -> None:
    await world.fill(engine)
    answers: dict[str, int] = {}
    for seed in range(SEEDS):
        rng = random.Random(seed)
        sent, model = mail(rng), Meter(DOMAIN, GPUS * UNIT, NOW_S)

        while sent:
            size = rng.randrange(1, 5)
            batch, sent = sent[:size], sent[size:]
            async with write(engine) as db:
                got = [type(o).__name__ for o in await record_all(db, batch, now_s=LATER_S, domain=DOMAIN)]
            assert got == [model.record(signed) for signed in batch], f"seed {seed}"
            for answer in got:
                answers[answer] = answers.get(answer, 0) + 1

        digests = sorted(signed.digest(DOMAIN) for signed in model.stored.values())
        assert await rows(engine) == (digests, model.evidence, model.gaps()), f"seed {seed}"
    assert min(answers.values()) > 10  # the histories reach every answer
    assert len(answers) == 3


@pytest.mark.parametrize("seed", range(5))
async def test_honest_segments_are_recorded_in_any_order(engine: AsyncEngine, seed: int) -> None:
    await world.fill(engine)
    rng = random.Random(seed)
    honest = list(history(rng))
    rng.shuffle(honest)

    async with write(engine) as db:
        for signed in honest:
            (outcome,) = await record_all(db, [signed], now_s=LATER_S, domain=DOMAIN)
            assert type(outcome).__name__ == "Recorded"
