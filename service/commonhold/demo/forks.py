"""Step 8: a reorg of several blocks while the mirror follows; it ends in the digest of a fresh sync."""

from typing import Any

from commonhold import actions, db, migrate
from commonhold.chain.node import Anvil
from commonhold.demo import show
from commonhold.demo.holding import until_mirrored
from commonhold.demo.world import World, wait_for
from commonhold.mirror import digest
from commonhold.mirror.follow import Follower
from commonhold.units import Units, hex_text, units_text

MOVES = 4
MOVED = Units(10_000)


async def survive_reorg(world: World, anvil: Anvil) -> None:
    """Step 8."""
    show.step(8, "A reorg while the mirror follows")
    asset, investor, library = world.assets["node"], world.sender("investor"), world.keys.address("library")
    held_before = await world.view("Ledger", "balanceOf", library, asset)
    for _ in range(MOVES):
        mined = await actions.transfer(investor, library, asset, MOVED)
    await until_mirrored(world, mined.block.number)
    before = await _status(world)
    show.fact("mirrored", f"{MOVES} transfers of {units_text(MOVED)} up to block {mined.block.number}")
    show.fact("digest with them", before["digest"])

    depth = (await world.rpc.head("latest")).number - mined.block.number + MOVES
    await anvil.reorg(depth)
    await anvil.mine(2)
    head = await world.rpc.head("latest")
    show.fact("forced on the chain", f"{depth} blocks replaced, their transactions lost; head {head.number}")

    async def followed() -> Any:
        status = await _status(world)
        return status if status["block"]["hash"] == hex_text((await world.rpc.head("latest")).hash) else None

    after = await wait_for("the mirror on the new branch", followed)
    held_after = await world.view("Ledger", "balanceOf", library, asset)
    show.expect("units of the library on the new branch", held_before, held_after)
    show.expect_that("digest", after["digest"] != before["digest"], expected="another one", got=after["digest"])

    fresh = await fresh_digest(world, int(after["block"]["number"]))
    show.expect("digest of a fresh sync", after["digest"], fresh)
    show.fact("digest after the reorg", after["digest"])
    show.fact("digest of a fresh sync", f"{fresh}: equal")


async def fresh_digest(world: World, number: int) -> str:
    """The digest of a new mirror that has followed the chain from the first block to `number`."""
    engine = db.make_engine(f"sqlite:///{world.folder / 'fresh.db'}")
    try:
        await migrate.upgrade(engine)
        follower = Follower(world.rpc, world.deployment, engine)
        while not (await follower.step()).idle:
            pass
        async with db.read(engine) as reader:
            return hex_text(await digest.digest(reader))
    finally:
        await engine.dispose()


async def _status(world: World) -> Any:
    answer = await world.http.get(f"{world.service_url}/status")
    show.expect("answer to /status", 200, answer.status_code)
    return answer.json()
