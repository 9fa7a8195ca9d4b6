"""Step 10: the groups vote, one vote each, and a limit gets tighter after its delays; no key could have done it."""

from commonhold import voting
from commonhold.chain.node import Anvil
from commonhold.chain.send import ContractRefused
from commonhold.demo import show
from commonhold.demo.holding import until_mirrored
from commonhold.demo.parties import COMPUTE, GAS_WEI
from commonhold.demo.world import World
from commonhold.units import address_text, class_id

VOTERS = ("provider", "investor", "library", "developer")
USE_BPS = 900  # from 1,000


async def vote(world: World, anvil: Anvil) -> None:
    """Step 10. The chain's clock is moved on: it comes last."""
    show.step(10, "The groups vote")
    d, subject = world.deployment, class_id(COMPUTE)
    motion = voting.Motion(
        [voting.change(d, "Ledger", "useBps", subject, USE_BPS)], "Use of compute: at most 9% of a window for one group"
    )
    try:
        await voting.propose(world.sender("affiliate"), motion)
    except ContractRefused as error:
        show.refused("the council, to a member that another controls", str(error))
    number, _ = await voting.propose(world.sender("provider"), motion)
    show.fact("proposed by the provider", f"use limit {USE_BPS / 100:g}%, proposal {str(number)[:12]}…")
    await anvil.advance(d.genesis.voting_delay + 1)
    await anvil.fund(address_text(world.keys.address("developer")), GAS_WEI)
    for role in VOTERS:
        await voting.vote(world.sender(role), number, "for")
    tally = await world.view("Council", "proposalVotes", number)
    show.expect("votes for", len(VOTERS), tally.for_votes)
    show.fact("votes", f"{tally.for_votes} groups for, {tally.against_votes} against; one group, one vote")
    await anvil.advance(d.genesis.voting_period + 1)
    await voting.queue(world.sender("relayer"), motion)
    try:
        await voting.execute(world.sender("relayer"), motion)
    except ContractRefused as error:
        show.refused("the timelock, too early", str(error)[:120])
    await anvil.advance(d.genesis.timelock_delay + 1)
    mined = await voting.execute(world.sender("relayer"), motion)
    limits = await world.view("Ledger", "classOf", subject)
    show.expect("use limit", USE_BPS, limits.use_bps)
    await until_mirrored(world, mined.block.number)
    rows = (await world.http.get(f"{world.service_url}/v1/classes")).json()
    shown = next(row["use_bps"] for row in rows if row["name"] == COMPUTE)
    show.expect("use limit at the service", USE_BPS, shown)
    show.fact("executed by anyone", f"use limit {shown / 100:g}%; the next step is possible in 90 days")
