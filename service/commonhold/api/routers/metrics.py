"""What a monitor watches, as Prometheus text: how far and how old the mirror is, what became of it, how nodes do."""

from collections.abc import Iterator
from contextlib import suppress

from fastapi import APIRouter, Response

from commonhold.api.deps import AppState, State
from commonhold.api.exposition import CONTENT_TYPE, Metric, counter, gauge, histogram, labelled, text
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
    yield counter("commonhold_mirror_events_total", "Events applied since the start.", state.tally.events)
    yield histogram(
        "commonhold_mirror_reorg_depth_blocks", "Reorganisations undone, by depth.", state.tally.reorgs, DEPTHS
    )
    yield gauge("commonhold_logs_verified", "1: headers and receipts are recomputed.", int(state.rpc.verify_logs))
    health = state.rpc.health()
    errors = {each.host: each.errors for each in health}
    resting = {each.host: int(each.resting) for each in health}
    dropped = {each.host: int(each.dropped is not None) for each in health}
    about = "endpoint"
    yield labelled("commonhold_rpc_errors_total", "counter", "Requests that it failed.", about, errors)
    yield labelled("commonhold_rpc_resting", "gauge", "1: it is not asked now.", about, resting)
    yield labelled("commonhold_rpc_dropped", "gauge", "1: it lied and is not asked again.", about, dropped)
    waiting = dict.fromkeys(state.faults(), 1)
    yield labelled(
        "commonhold_loop_faulty", "gauge", "1: this loop stopped or waits; others are left out.", "loop", waiting
    )
