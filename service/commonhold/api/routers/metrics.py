"""What a monitor watches, as Prometheus text: how far and how old the mirror is, what became of it, how nodes do."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from fastapi import APIRouter, Response

from commonhold.api.deps import AppState, State
from commonhold.api.exposition import CONTENT_TYPE, Kind, Metric, counter, gauge, histogram, labelled, text
from commonhold.chain.health import Health
from commonhold.chain.rpc import RpcLied
from commonhold.chain.stamp import BlockStamp
from commonhold.db import read
from commonhold.errors import Unavailable
from commonhold.mirror.read import Position, position

router = APIRouter(tags=["service"])

DEPTHS = (1, 2, 4, 8, 16, 32, 64)  # blocks; Ethereum's finality is 64 blocks away


@router.get("/metrics", response_class=Response)
async def metrics(state: State) -> Response:
    """Prometheus text. What cannot be known now (the head, when no node answers) is left out."""
    head = mirrored = None
    with suppress(Unavailable, RpcLied):
        head = await state.rpc.head("latest")
    with suppress(Unavailable):
        async with read(state.engine) as db:
            mirrored = await position(db)
    return Response(text(_metrics(state, head, mirrored)), media_type=CONTENT_TYPE)


def _metrics(state: AppState, head: BlockStamp | None, mirrored: Position | None) -> Iterator[Metric]:
    yield gauge("commonhold_chain_up", "1: a node answered just now.", int(head is not None))
    if head is not None:
        yield gauge("commonhold_chain_head_block", "Number of the newest block.", head.number)
        age_s = max(0, state.clock() - head.timestamp)
        yield gauge("commonhold_chain_head_age_seconds", "Age of the newest block by its timestamp.", age_s)
    if mirrored is not None:
        yield gauge("commonhold_mirror_block", "Number of the last block applied.", mirrored.number)
        yield gauge("commonhold_mirror_finalized_block", "No rewind goes below it.", mirrored.finalized)
    if head is not None and mirrored is not None:
        lag = max(0, head.number - mirrored.number)
        yield gauge("commonhold_mirror_lag_blocks", "Blocks of the node that are not applied.", lag)
        lag_s = max(0, head.timestamp - mirrored.timestamp)
        yield gauge("commonhold_mirror_lag_seconds", "How much younger the node's newest block is than ours.", lag_s)
    tally = state.tally
    yield counter("commonhold_mirror_events_total", "Events applied; its rate is events a second.", tally.events)
    if tally.first_row_ms is not None:
        first = "From the start to the first event applied."
        yield gauge("commonhold_mirror_first_row_milliseconds", first, tally.first_row_ms)
    yield counter("commonhold_spot_checked_total", "Rows compared with proofs of storage.", tally.compared)
    yield histogram("commonhold_mirror_reorg_depth_blocks", "Reorganisations undone, by depth.", tally.reorgs, DEPTHS)
    yield gauge("commonhold_logs_verified", "1: headers and receipts are recomputed.", int(state.rpc.verify_logs))
    yield from _endpoints(state.rpc.health())
    waiting = dict.fromkeys(state.faults(), 1)
    yield labelled(
        "commonhold_loop_faulty", "gauge", "1: this loop stopped or waits; others are left out.", "loop", waiting
    )
    doubts = dict.fromkeys(state.integrity(), 1)
    yield labelled("commonhold_integrity_fault", "gauge", "1: it puts the mirror in doubt.", "loop", doubts)


def _endpoints(health: Sequence[Health]) -> Iterator[Metric]:
    """Of each RPC node."""

    def of(name: str, kind: Kind, help_: str, value: Callable[[Health], int | None]) -> Metric:
        found = {each.host: number for each in health if (number := value(each)) is not None}
        return labelled(f"commonhold_rpc_{name}", kind, help_, "endpoint", found)

    yield of("requests_total", "counter", "Requests sent to it.", lambda each: each.requests)
    yield of("request_milliseconds_total", "counter", "Waited for its answers.", lambda each: each.spent_ms)
    yield of("latency_milliseconds", "gauge", "Of one request, smoothed.", lambda each: each.latency_ms)
    yield of("head_block", "gauge", "The newest block that it told of.", lambda each: each.head)
    yield of("errors_total", "counter", "Questions that it failed.", lambda each: each.errors)
    yield of("outvoted_total", "counter", "How often a quorum said something else.", lambda each: each.outvoted)
    yield of("resting", "gauge", "1: it is not asked now.", lambda each: int(each.resting))
    yield of("dropped", "gauge", "1: it lied and is not asked again.", lambda each: int(each.dropped is not None))
