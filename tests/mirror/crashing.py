"""A mirror in processes of its own: `python -m tests.mirror.crashing MODE DATABASE RPC DEPLOYMENT`.

once  follows until nothing is new; prints the blocks of each step, one step a line.
kill  the same, but by one process after the other, each killed (SIGKILL, by itself) at the first boundary that it
      comes to: a step is fetched and nothing is written, all is written and not committed, it is committed. A process
      has then done one step at most, so that no boundary of any step is left out. Prints how many were killed.
"""

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold import worker
from commonhold.chain.decode import UnknownEvent, decode_of
from commonhold.chain.deployment import FOLLOWED, Deployment
from commonhold.chain.rpc import Rpc
from commonhold.chain.stamp import RawLog
from commonhold.db import make_engine
from commonhold.mirror.follow import Follower
from commonhold.units import Address, BlockNumber, Hash32
from commonhold.worker import Stage

BOUNDARIES = ("fetched", "written", "committed")
MAX_RANGE = 20
KILLED = -signal.SIGKILL
NO_LOG = RawLog(Address(bytes(20)), (), b"", BlockNumber(0), Hash32(bytes(32)), Hash32(bytes(32)), 0)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_at(engine: AsyncEngine, boundary: str) -> None:
    """The process ends at this boundary of its first transaction that writes."""
    writes = False

    def on_begin(connection: sa.Connection) -> None:
        nonlocal writes
        writes = not connection.get_execution_options().get("commonhold_read")
        if writes and boundary == "fetched":
            die()

    def on_commit(_connection: sa.Connection) -> None:
        if writes and boundary == "written":
            die()

    dialect: Any = engine.sync_engine.dialect
    commit = dialect.do_commit

    def do_commit(connection: Any) -> None:
        commit(connection)
        if writes and boundary == "committed":
            die()

    dialect.do_commit = do_commit
    sa.event.listen(engine.sync_engine, "begin", on_begin)
    sa.event.listen(engine.sync_engine, "commit", on_commit)


async def follow(database: str, rpc_url: str, deployment: Deployment, boundary: str | None = None) -> list[str]:
    """The service's loop until nothing is new; the blocks of each step. Raises RuntimeError when the loop stopped."""
    engine = make_engine(database)
    if boundary is not None:
        kill_at(engine, boundary)
    stop, steps = asyncio.Event(), list[str]()
    async with Rpc(rpc_url, timeout_s=60) as rpc:
        follower = Follower(rpc, deployment, engine, max_range=MAX_RANGE)

        async def step() -> bool:
            progress = await follower.step()
            if progress.idle:
                stop.set()
            else:
                steps.append(f"{progress.from_number} {progress.to_number}")
            return not progress.idle

        stage = Stage("follow", step, 0.01)
        async with asyncio.TaskGroup() as group:
            loops = group.create_task(worker.run([stage], stop))
            loops.add_done_callback(lambda _: stop.set())
    await engine.dispose()
    if stage.fault is not None:
        raise RuntimeError(stage.fault)
    return steps


def in_child(database: str, rpc_url: str, deployment: Deployment, boundary: str) -> int:
    """How a process ended that followed: 0 when it had nothing more to do."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            asyncio.run(follow(database, rpc_url, deployment, boundary))
            code = 0
        finally:
            sys.stdout.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def warm(database: str, rpc_url: str) -> None:
    """What every child would load anew is loaded: a child takes a tenth of the time."""
    make_engine(database).sync_engine.dialect.loaded_dbapi  # noqa: B018
    Rpc(rpc_url)
    for name in FOLLOWED:
        with contextlib.suppress(UnknownEvent):
            decode_of(name, NO_LOG)


def main() -> int:
    mode, database, rpc_url, file = sys.argv[1:]
    deployment = Deployment.load(Path(file))
    if mode == "once":
        for step in asyncio.run(follow(database, rpc_url, deployment)):
            print(step)
        return 0
    warm(database, rpc_url)
    killed = 0
    while True:
        ends = [in_child(database, rpc_url, deployment, boundary) for boundary in BOUNDARIES]
        killed += ends.count(KILLED)
        if set(ends) == {0}:
            print(killed)
            return 0
        if set(ends) != {KILLED}:
            print(f"processes ended with {ends}", file=sys.stderr)
            return 1


if __name__ == "__main__":
    sys.exit(main())
