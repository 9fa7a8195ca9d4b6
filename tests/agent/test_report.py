"""Reports reach the service whatever it answers, each segment for itself, and proofs are checked before they count."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from commonhold.agent.report import Reporter, Sent, ServiceUnreachable
from commonhold.anchor.merkle import Leaf, LeafKind, Tree, tree
from commonhold.gateway.asgi import Receive, Scope, Send, answer_json
from commonhold.meter.segment import SignedSegment
from commonhold.units import Hash32, hex_text
from tests.agent.test_meter import ONE, POINT, TWO, Machine
from tests.gateway.peers import METER, Issuer, free_port, serving


class Service(Issuer):
    """The issuer with epochs: `epochs` are trees over segments, `state` is how far they have come."""

    epochs: list[Tree]
    state = "anchored"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["path"].split("/")[1:]:
            case ["v1", "epochs", number]:
                root = hex_text(self.epochs[int(number)].root)
                await answer_json(send, 200, {"number": int(number), "root": root, "state": self.state})
            case ["v1", "epochs", number, "proof"]:
                digest = Hash32(bytes.fromhex(scope["query_string"].decode().removeprefix("digest=0x")))
                found = [n for n, held in enumerate(self.epochs) if any(leaf.digest == digest for leaf in held.leaves)]
                if found != [int(number)]:
                    await answer_json(send, 404, {"code": "not_found", **({"epoch": found[0]} if found else {})})
                    return
                _, proof = self.epochs[int(number)].proof(digest)
                await answer_json(send, 200, {"epoch": int(number), "proof": [hex_text(node) for node in proof]})
            case _:
                await super().__call__(scope, receive, send)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    started = Service(meter_key=POINT)
    started.epochs = []
    async with serving(started) as started.url:
        yield started


@pytest.fixture
async def http(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=service.url, verify=False, trust_env=False) as client:
        yield client


@pytest.fixture
def machine(tmp_path: Path) -> Any:
    started = Machine(tmp_path)
    for lease in (ONE, TWO, ONE):
        started.use(lease, 10)
    started.meter.seal_all()
    yield started
    started.lose_power()


def reporter(machine: Machine, http: httpx.AsyncClient) -> Reporter:
    assert machine.spool is not None
    return Reporter(machine.spool, http, METER)


async def test_each_segment_is_answered_for_itself(machine: Machine, http: httpx.AsyncClient, service: Service) -> None:
    said: dict[int, dict[str, Any]] = {
        1: {"status": "rejected", "code": "unknown", "reason": "no lease", "digest": None},
        2: {"status": "rejected", "code": "misfit", "reason": "overlap", "digest": None},
    }
    service.answer = lambda signed: said.get(signed.segment.sequence, {"status": "recorded"})

    sent = await reporter(machine, http).send()

    spool = machine.spool
    assert spool is not None
    assert sent == Sent(acknowledged=1, later=1, refused=1)
    assert [s.segment.sequence for s in spool.unsent] == [1]
    assert [s.segment.sequence for s in spool.refused] == [2]
    service.answer = lambda _: {"status": "duplicate"}
    assert await reporter(machine, http).send() == Sent(acknowledged=1)


async def test_answer_of_unknown_form_is_no_acknowledgement(
    machine: Machine, http: httpx.AsyncClient, service: Service
) -> None:
    service.answer = lambda _: {"status": "thanks"}

    with pytest.raises(ServiceUnreachable, match="unknown form"):
        await reporter(machine, http).send()

    assert len(machine.segments) == 3


async def test_absent_service_leaves_everything_in_the_spool(machine: Machine) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{free_port()}", trust_env=False) as nowhere:
        with pytest.raises(ServiceUnreachable):
            await reporter(machine, nowhere).send()

    assert len(machine.segments) == 3


def leaf(signed: SignedSegment) -> Leaf:
    return Leaf(LeafKind.SEGMENT, signed.segment.lease, signed.digest(METER), signed.segment.gpu_ms)


async def test_proof_that_leads_to_the_root_settles_a_segment(
    machine: Machine, http: httpx.AsyncClient, service: Service
) -> None:
    first, second, third = machine.segments
    service.answer = lambda _: {"status": "recorded"}
    receipts = Leaf(LeafKind.RECEIPT, ONE, Hash32(b"\x07" * 32), 10)
    service.epochs = [tree([receipts]), tree([leaf(first), receipts]), tree([leaf(second)])]
    report = reporter(machine, http)
    await report.send()

    service.state = "sent"
    assert await report.prove() == 0  # a root that is not on the chain proves nothing
    service.state = "anchored"
    assert await report.prove() == 2
    assert machine.spool is not None
    assert machine.spool.unproven == [third]


async def test_proof_that_leads_elsewhere_settles_nothing(
    machine: Machine, http: httpx.AsyncClient, service: Service
) -> None:
    first = machine.segments[0]
    service.answer = lambda _: {"status": "recorded"}
    lie = Leaf(LeafKind.SEGMENT, first.segment.lease, first.digest(METER), first.segment.gpu_ms + 1)
    service.epochs = [tree([lie, leaf(machine.segments[1])])]
    report = reporter(machine, http)
    await report.send()

    with pytest.raises(ServiceUnreachable, match="no root"):
        await report.prove()
    assert machine.spool is not None
    assert len(machine.spool.unproven) == 3
