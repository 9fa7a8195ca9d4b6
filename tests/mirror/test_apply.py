import typing

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.chain import events as e
from commonhold.chain import governing as g
from commonhold.chain.events import ChainEvent
from commonhold.db import read, write
from commonhold.mirror import council, revenue
from commonhold.mirror import read as mirror
from commonhold.mirror.apply import MirrorBroken, apply
from commonhold.mirror.digest import dump
from commonhold.mirror.read import AssetRow, Credit, Delivered, FormerKey, Holding, LeaseRow, Member, Offer
from commonhold.signing import ZERO32
from commonhold.units import AssetId, BlockNumber, CreditId, GpuMs, Seconds, Units, Wei
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
    short,
    stamp,
)


def test_history_has_every_event() -> None:
    assert {type(event) for event in HISTORY} == set(typing.get_args(ChainEvent))


NOTHING = (None, None, None)  # no detachment, no recovery


async def test_members_and_their_groups(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await play(db)

    async with read(engine) as db:
        assert await mirror.members(db) == [
            Member(PROVIDER, hash32("provider's"), None, PROVIDER, 1_000, 9_000, False, False, None, *NOTHING),
            Member(DEVELOPER, hash32("developer's"), AFFILIATE, HEIR, 1_002, 9_999, False, False, None, *NOTHING),
            Member(AFFILIATE, hash32("affiliate's"), HEIR, HEIR, 6_000, 0, False, False, HEIR, *NOTHING),
            Member(HEIR, None, None, HEIR, 7_500, 9_000, True, True, None, *NOTHING),
        ]


async def test_assets_and_holdings(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await play(db)

    async with read(engine) as db:
        gpus, text = await mirror.classes(db)
        assert (gpus.class_id, gpus.total_units, text.class_id, text.total_units) == (GPUS, 8_000_000, TEXT, 0)
        renewed_at = next(n for n, event in enumerate(HISTORY, 1) if isinstance(event, e.AppraisalRenewed))
        assert await mirror.asset(db, NODE) == AssetRow(
            asset=NODE,
            class_id=GPUS,
            operator=PROVIDER,
            units=Units(8_000_000),
            level=4,
            policy="nvidia",
            content_hash=hash32("evidence 2"),
            result_hash=hash32("result 3"),
            meter_key=hash32("x2") + hash32("y2"),
            appraised_at=stamp(renewed_at).timestamp,
            expires_at=8_000,
            retired=False,
            commons_price_wei=Wei(5),
            accrued_wei=Wei(7 * 10**30),
            claimed_wei=Wei(10**30),
            shared_wei=Wei(5 * 10**30),
            uri="https://node.example",
        )
        corpus = await mirror.asset(db, CORPUS)
        assert corpus is not None
        assert (corpus.meter_key, corpus.retired, corpus.operator) == (None, True, HEIR)
        assert await mirror.devices(db, NODE) == [hash32("gpu 1"), hash32("gpu 2")]
        assert await mirror.holdings(db) == [
            Holding(CORPUS, HEIR, Units(700), counted=False),
            Holding(NODE, AFFILIATE, Units(500_000), counted=True),
            Holding(NODE, LEDGER, Units(5_999_000), counted=True),
            Holding(NODE, PROVIDER, Units(1_501_000), counted=True),
        ]


async def test_credits_leases_and_deliveries(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await play(db)

    async with read(engine) as db:
        assert await mirror.offers(db) == [
            Offer(GRANTED, NODE, WINDOW, 0, Wei(0)),
            Offer(SOLD, NODE, WINDOW, 1, Wei(10**30)),
        ]
        assert await mirror.credits(db, AFFILIATE) == [Credit(GRANTED, AFFILIATE, Seconds(500))]
        assert await mirror.credits(db, DEVELOPER) == [Credit(SOLD, DEVELOPER, Seconds(100))]
        redeemed_at = next(n for n, event in enumerate(HISTORY, 1) if isinstance(event, e.Redeemed))
        split_at = next(n for n, event in enumerate(HISTORY, 1) if isinstance(event, e.LeaseSplit))
        assert await mirror.leases(db) == [
            LeaseRow(
                lease=LEASE,
                holder=DEVELOPER,
                credit_id=GRANTED,
                seconds=Seconds(2_700),
                starts_at=60_480_000,
                level=3,
                session_key=hash32("new x") + hash32("new y"),
                key_number=1,
                changes=3,
                part_of=None,
                redeemed_block=BlockNumber(redeemed_at),
                settled_ms=GpuMs(1_500),
                paid_wei=Wei(7 * 10**30),
                refunded_wei=None,
                asset=NODE,
                window=WINDOW,
                tranche=0,
                price_wei=Wei(0),
            ),
            LeaseRow(
                lease=PART,
                holder=DEVELOPER,
                credit_id=GRANTED,
                seconds=Seconds(400),
                starts_at=60_480_100,
                level=3,
                session_key=hash32("part x") + hash32("part y"),
                key_number=0,
                changes=0,
                part_of=LEASE,
                redeemed_block=BlockNumber(split_at),
                settled_ms=GpuMs(0),
                paid_wei=Wei(0),
                refunded_wei=Wei(0),
                asset=NODE,
                window=WINDOW,
                tranche=0,
                price_wei=Wei(0),
            ),
        ]
        assert await mirror.former_keys(db, LEASE) == [
            FormerKey(LEASE, 0, hash32("session x") + hash32("session y"), 60_490_000)
        ]
        assert await mirror.delivered(db) == [Delivered(GPUS, WINDOW, PROVIDER, 4, GpuMs(1_500))]


async def test_the_council_and_what_it_changes(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await play(db)

    async with read(engine) as db:
        gpus, _ = await mirror.classes(db)
        assert gpus.hold_bps == 2_000
        changed_at = next(
            stamp(n).timestamp for n, event in enumerate(HISTORY, 1) if getattr(event, "value", 0) == 2_000
        )
        settings = {(s.contract, s.name, s.subject): s for s in await council.settings(db)}
        assert len(settings) == 2 * 4 + 2
        of_class = settings["Ledger", "holdBps", GPUS]
        assert (of_class.value, of_class.changed_at, of_class.pending, of_class.ready_at) == (
            2_000,
            changed_at,
            None,
            None,
        )
        assert settings["Members", "threshold", ZERO32].value == 2
        assert settings["Members", "signers", ZERO32].abdicated
        assert await council.signers(db) == [council.Signer("Ledger", PROVIDER, False, 9_000)]
        other, one = await council.proposals(db)
        assert (one.proposal_id, one.description, one.vote_end, one.ready_at, one.outcome) == (
            9,
            "a proposal\ufffd",
            300,
            400,
            "executed",
        )
        assert (one.against, one.in_favour, one.abstaining) == (0, 1, 1)
        assert (other.outcome, other.calls) == ("canceled", "[]")
        assert [(vote.voter, vote.support) for vote in await council.votes(db, 9)] == [(HEIR, 2), (PROVIDER, 1)]
        assert await revenue.claims(db) == [revenue.Claim(NODE, PROVIDER, Wei(10**30))]
        assert await revenue.commons_claims(db) == [revenue.CommonsClaim(PROVIDER, Wei(10**30))]


async def test_anyone_may_anchor_any_number_and_text(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await play(db)

    async with read(engine) as db:
        first, second = await mirror.anchors(db)
    assert (first.gpu_ms, first.uri) == (2**64 - 1, "https://epoch.example/\ufffd")
    assert (second.previous, second.count, second.block_number) == (hash32("anchor 0"), 2**32 - 1, len(HISTORY))


BROKEN: dict[str, ChainEvent] = {
    "units that nobody has": e.Transfer("Ledger", STRANGER, STRANGER, PROVIDER, NODE, 1),
    "more units than there are": e.Transfer("Ledger", PROVIDER, PROVIDER, AFFILIATE, NODE, 1_501_001),
    "units of no asset": e.Transfer("Ledger", PROVIDER, NOBODY, PROVIDER, 999, 1),
    "credits of no offer": e.Transfer("Access", PROVIDER, NOBODY, DEVELOPER, 999, 1),
    "an offer of no asset": e.Opened(CreditId(1), AssetId(999), 100, 0, 0),
    "a member who was never admitted": e.Renewed(STRANGER, 1, 10_000),
    "an admission twice": e.Admitted(PROVIDER, hash32("another's"), 2_000, 9_000),
    "an identity twice": e.Admitted(STRANGER, hash32("provider's"), 2_000, 9_000),
    "a group that is not there": e.Attached(STRANGER, PROVIDER, STRANGER, PROVIDER, ZERO32),
    "a group under its member": e.Attached(AFFILIATE, PROVIDER, AFFILIATE, PROVIDER, ZERO32),
    "a renewed asset that is not there": e.AppraisalRenewed(AssetId(999), 4, "p", LEASE, LEASE, LEASE, LEASE, 8_000),
    "time that was settled before": e.Settled(LEASE, GPUS, PROVIDER, 100, 4, 1_500, 500, 0, hash32("head 2")),
    "time past the lease": e.Settled(LEASE, GPUS, PROVIDER, 100, 4, 3_000_001, 2_998_501, 0, hash32("head 3")),
    "a refund of no lease": e.Refunded(hash32("no lease"), PROVIDER, 1),
    "more seconds split off than there are": e.LeaseSplit(LEASE, hash32("p"), 2_701, 1, LEASE, LEASE),
    "a session key out of turn": e.KeyRotated(LEASE, 3, LEASE, LEASE, 1),
    "revenue of no asset": e.Accrued(AssetId(999), 1),
    "a group of its own twice": e.Detached(HEIR, PROVIDER, STRANGER, 1),
    "the place of nobody": e.Recovered(STRANGER, hash32("h")[:20], 1, 2),  # type: ignore[arg-type]
    "a signer that is none": g.SignerRemoved("Ledger", STRANGER),
    "a vote on nothing": g.VoteCast(PROVIDER, 11, 1, 1, ""),
    "a vote twice": g.VoteCast(PROVIDER, 9, 1, 1, ""),
    "a setting of no class": g.SettingChanged("Ledger", short("holdBps"), LEASE, 1),
    "an epoch twice": e.Anchored(STRANGER, 1, hash32("other root"), hash32("anchor 0"), 1, 1, ""),
}


async def apply_alone(engine: AsyncEngine, event: ChainEvent) -> None:
    async with write(engine) as db:
        await apply(db, stamp(99), event)


async def test_event_that_does_not_fit_breaks_the_mirror_and_changes_nothing(engine: AsyncEngine) -> None:
    async with write(engine) as db:
        await play(db)
        before = await dump(db)

    for what, event in BROKEN.items():
        with pytest.raises(MirrorBroken, match=r"^block 99 \(0x"):
            await apply_alone(engine, event)
        async with read(engine) as db:
            assert await dump(db) == before, what
