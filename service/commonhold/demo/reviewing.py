"""Step 9: the audit, from the chain alone; and that a tampered row makes it fail."""

import json

import sqlalchemy as sa

from commonhold import db
from commonhold.demo import show
from commonhold.demo.world import World
from commonhold.mirror import tables as t


async def audit(world: World) -> None:
    """Step 9."""
    show.step(9, "An audit that needs to trust nobody")
    report = json.loads(await world.processes.call([*_arguments(world), "--json"]))
    for check in report["checks"]:
        show.fact(f"check {check['number']}", f"{check['name']}: {check['detail']}")
    for row in report["concentration"]:
        show.fact(
            f"concentration {row['class']}",
            f"largest {row['largest_bps'] / 100:g}%, HHI {row['hhi']}, Nakamoto coefficient {row['nakamoto'] or '-'}",
        )
    show.expect("checks that failed", [], [check["name"] for check in report["checks"] if not check["ok"]])

    await _tamper(world, -1)
    try:
        failed = json.loads(await world.processes.call([*_arguments(world), "--json"], expected_exit=1))
        found = next(check for check in failed["checks"] if not check["ok"])
        show.refused("the audit, one database row changed by 0.000001 units", f"{found['name']}: {found['detail']}")
    finally:
        await _tamper(world, +1)
    await world.processes.call([*_arguments(world), "--json"])
    show.fact("the row put back", "the audit passes again")


def _arguments(world: World) -> list[str]:
    return [
        *("audit", "--rpc", world.rpc_url, "--deployment", str(world.deployment_file)),
        *("--service", world.service_url),
    ]


async def _tamper(world: World, units: int) -> None:
    """Changes one holding in the service's database behind its back."""
    engine = db.make_engine(world.database_url)
    try:
        async with db.write(engine) as writer:
            owned = sa.and_(
                t.holding.c.asset == world.assets["node"], t.holding.c.owner == world.keys.address("investor")
            )
            await writer.execute(sa.update(t.holding).where(owned).values(units=t.holding.c.units + units))
    finally:
        await engine.dispose()
