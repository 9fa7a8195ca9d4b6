"""What a node counts and reports, over real sockets: overlap, budgets, renewals, receipts, kill -9."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from commonhold import keyfile
from commonhold.agent.spool import open_spool
from commonhold.errors import BadInput
from commonhold.gateway.asgi import Receive, Scope, Send, read_body
from commonhold.gateway.config import NodeConfig
from commonhold.meter.segment import SignedSegment
from commonhold.p256 import p256_point, verify_es256
from commonhold.signing import ZERO32, Receipt, preimage
from commonhold.units import Hash32, to_hash32
from tests.gateway.peers import METER, Issuer, Node, make_config, running, serving
from tests.gateway.test_gateway import refused

TWO = Hash32(b"\x22" * 32)
IN_FLIGHT: set[str] = set()


async def slow(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers after as many ms as the path names, a part every 10 ms; tells who is in flight."""
    await read_body(receive, 1 << 20)
    IN_FLIGHT.add(lease := dict(scope["headers"])[b"commonhold-lease"].decode())
    try:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(max(1, int(scope["path"].rsplit("/")[-1]) // 10)):
            await asyncio.sleep(0.01)
            await send({"type": "http.response.body", "body": b".", "more_body": True})
        await send({"type": "http.response.body", "body": ",".join(sorted(IN_FLIGHT)).encode()})
    finally:
        IN_FLIGHT.discard(lease)


async def silent(scope: Scope, receive: Receive, send: Send) -> None:
    """Takes a minute before it says anything; tells who is in flight."""
    IN_FLIGHT.add(lease := dict(scope["headers"])[b"commonhold-lease"].decode())
    try:
        await asyncio.sleep(60)
    finally:
        IN_FLIGHT.discard(lease)


async def receipt(node: Node, token: str) -> dict[str, Any]:
    answer = await node.call("GET", "/commonhold/receipt", token)
    assert answer.status_code == 200, answer.text
    content: dict[str, Any] = answer.json()
    return content


def chained(segments: list[SignedSegment]) -> None:
    """Sequence without gap, chains without break, time without overlap."""
    heads: dict[Hash32, Hash32] = {}
    sequences: dict[int, int] = {}
    last_ms = 0
    for signed in sorted(segments, key=lambda s: (s.segment.boot, s.segment.sequence)):
        s = signed.segment
        assert (s.previous, s.sequence) == (heads.get(s.lease, ZERO32), sequences.get(s.boot, 0))
        assert s.started_at_ms >= last_ms
        heads[s.lease], sequences[s.boot], last_ms = s.head, s.sequence + 1, s.ended_at_ms


async def test_receipt_is_signed_by_the_meter_key_and_its_segments_reach_the_service(tmp_path: Path) -> None:
    async with running(tmp_path, slow) as node:
        token = node.issuer.token(node.session)
        started = time.monotonic()
        await node.call("GET", "/100", token)
        wall_ms = (time.monotonic() - started) * 1_000

        said = await receipt(node, token)

        statement = Receipt(to_hash32(said["lease"]), said["gpu_ms"], to_hash32(said["head"]))
        signature = bytes.fromhex(said["node_signature"][2:])
        assert verify_es256(node.issuer.meter_key, preimage(METER, statement), signature)
        assert 100 <= said["gpu_ms"] <= wall_ms + 5
        for _ in range(1_000):
            if any(s.segment.head == statement.head for s in node.issuer.segments.values()):
                break
            await asyncio.sleep(0.01)
        newest = list(node.issuer.segments.values())[-1].segment
        assert (newest.head, newest.gpu_ms) == (statement.head, statement.gpu_ms)


async def test_overlapping_requests_count_once_times_gpus(tmp_path: Path) -> None:
    async with running(tmp_path, slow, gpus=4) as node:
        token = node.issuer.token(node.session)
        started = time.monotonic()
        await asyncio.gather(*(node.call("GET", "/300", token) for _ in range(3)))
        wall_ms = (time.monotonic() - started) * 1_000

        said = await receipt(node, token)

    assert 4 * 300 <= said["gpu_ms"] <= 4 * (wall_ms + 5)


async def test_idle_time_between_requests_is_not_counted(tmp_path: Path) -> None:
    async with running(tmp_path, slow) as node:
        token = node.issuer.token(node.session)
        await node.call("GET", "/10", token)
        before = await receipt(node, token)
        await asyncio.sleep(0.2)

        assert (await receipt(node, token))["gpu_ms"] == before["gpu_ms"]


async def test_stream_is_cut_when_the_budget_is_spent_and_then_refused(tmp_path: Path) -> None:
    async with running(tmp_path, slow) as node:
        token = node.issuer.token(node.session, limit_gpu_ms=200)
        headers = node.headers("GET", "/5000", token)

        async with node.http.stream("GET", node.url + "/5000", headers=headers) as answer:
            assert answer.status_code == 200
            with pytest.raises(httpx.RemoteProtocolError):
                await answer.aread()
        problem = refused(await node.call("GET", "/10", token), 402, "budget_spent")

        assert (problem["used_gpu_ms"], problem["limit_gpu_ms"]) == (200, 200)
        assert (await receipt(node, token))["gpu_ms"] == 200  # never more than a receipt can be settled for
        longer = node.issuer.token(node.session, limit_gpu_ms=100_000)
        assert (await node.call("GET", "/10", longer)).status_code == 200


async def test_upstream_that_says_nothing_until_the_budget_is_spent_is_a_402(tmp_path: Path) -> None:
    async with running(tmp_path, silent) as node:
        token = node.issuer.token(node.session, limit_gpu_ms=100)

        refused(await node.call("GET", "/", token), 402, "budget_spent")


async def test_renewed_token_lengthens_a_request_that_is_in_flight(tmp_path: Path) -> None:
    async with running(tmp_path, slow) as node:
        short = node.issuer.token(node.session, limit_gpu_ms=1_000)
        long = node.issuer.token(node.session, limit_gpu_ms=100_000)
        streaming = asyncio.create_task(node.call("GET", "/1200", short))
        await asyncio.sleep(0.05)
        await node.call("GET", "/10", long)

        assert (await streaming).status_code == 200


async def test_two_leases_have_the_gpus_one_after_the_other(tmp_path: Path) -> None:
    async with running(tmp_path, slow) as node:
        one, two = node.issuer.token(node.session), node.issuer.token(node.session, lease=TWO)

        answers = await asyncio.gather(*(node.call("GET", "/60", token) for token in (one, two, one, two)))
        await receipt(node, one)
        await receipt(node, two)
        segments = [*node.issuer.segments.values(), *_unsent(node)]

    assert all("," not in answer.text for answer in answers)
    chained(list({(s.segment.boot, s.segment.sequence): s for s in segments}.values()))


def _unsent(node: Node) -> list[SignedSegment]:
    lines = (Path(node.config.spool) / "spool.jsonl").read_bytes().splitlines()
    records = [orjson.loads(line[9:]) for line in lines]
    return [SignedSegment.from_json(r["segment"]) for r in records if r["kind"] == "segment"]


async def test_who_waits_too_long_for_the_gpus_is_told_to_come_again(tmp_path: Path) -> None:
    async with running(tmp_path, silent, wait_s=0) as node:
        one = node.issuer.token(node.session)
        first = asyncio.create_task(node.call("GET", "/", one))
        while not IN_FLIGHT:  # noqa: ASYNC110 - as the set is for all tests, and an event of one loop
            await asyncio.sleep(0.01)

        answer = await node.call("GET", "/", node.issuer.token(node.session, lease=TWO))

        refused(answer, 503, "gpus_busy")
        assert answer.headers["retry-after"]
        first.cancel()


async def test_client_that_goes_away_ends_the_counting(tmp_path: Path) -> None:
    async with running(tmp_path, silent) as node:
        token = node.issuer.token(node.session)
        with pytest.raises(httpx.ReadTimeout):
            await node.call("GET", "/", token, timeout=0.2)
        totals = [(await receipt(node, token))["gpu_ms"]]
        for _ in range(30):  # the news of it may take a moment
            await asyncio.sleep(0.1)
            totals.append((await receipt(node, token))["gpu_ms"])
            if totals[-1] == totals[-2]:
                break

        assert totals[-1] == totals[-2]


async def test_receipt_is_given_after_the_token_and_the_window_have_ended(tmp_path: Path) -> None:
    async with running(tmp_path, slow) as node:
        now_s = int(time.time())
        await node.call("GET", "/20", node.issuer.token(node.session))
        ended = node.issuer.token(node.session, issued_at=now_s - 400, expires_at=now_s - 100, ends_at=now_s - 100)
        day = 86_400
        ancient = node.issuer.token(node.session, issued_at=now_s - day - 301, expires_at=now_s - day - 1)

        refused(await node.call("GET", "/20", ended), 401, "invalid_token")
        assert (await receipt(node, ended))["gpu_ms"] >= 20
        refused(await node.call("GET", "/commonhold/receipt", ancient), 401, "invalid_token")
        stranger = ec.generate_private_key(ec.SECP256R1())
        headers = {**node.headers("GET", "/commonhold/receipt", ended)}
        headers["DPoP"] = node.proof("GET", "/commonhold/receipt", ended, key=stranger)
        refused(await node.http.get(node.url + "/commonhold/receipt", headers=headers), 401, "invalid_dpop_proof")


async def test_orderly_end_seals_and_reports_everything(tmp_path: Path) -> None:
    async with running(tmp_path, slow) as node:
        await node.call("GET", "/50", node.issuer.token(node.session))
        issuer = node.issuer

    spool = open_spool(tmp_path / "spool")
    assert spool.unsent == []
    assert [s.segment.gpu_ms for s in issuer.segments.values()] == [spool.leases[Hash32(b"\x11" * 32)].gpu_ms]
    spool.close()


async def test_segments_wait_for_a_service_that_is_down(tmp_path: Path) -> None:
    issuer = Issuer(down=True)
    async with running(tmp_path, slow, peer=issuer) as node:
        await node.call("GET", "/20", node.issuer.token(node.session))
        await receipt(node, node.issuer.token(node.session))
        for _ in range(500):
            if issuer.deliveries:
                break
            await asyncio.sleep(0.01)
        status = (await node.http.get(node.url + "/commonhold/status")).json()
        assert status["segments_unsent"] == 1
        issuer.down = False

    assert len(issuer.segments) == 1


@asynccontextmanager
async def process(folder: Path, config: NodeConfig) -> AsyncIterator[asyncio.subprocess.Process]:
    """A node in a process of its own, ready; killed at the end if it still runs."""
    path = folder / "node.json"
    path.write_bytes(orjson.dumps(asdict(config)))
    code = "import sys, pathlib\nfrom commonhold.gateway.config import NodeConfig\n"
    code += "from commonhold.gateway.node import run_node\nrun_node(NodeConfig.load(pathlib.Path(sys.argv[1])))"
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", code, str(path))
    try:
        async with httpx.AsyncClient(verify=False, trust_env=False) as http:
            for _ in range(600):
                try:
                    await http.get(config.audience + "/commonhold/status")
                    break
                except httpx.TransportError:
                    assert child.returncode is None
                    await asyncio.sleep(0.05)
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


async def test_kill_9_loses_at_most_one_interval_and_the_spool_is_sent_afterwards(tmp_path: Path) -> None:
    issuer = Issuer(down=True)
    async with serving(issuer) as issuer.url, serving(slow) as upstream, httpx.AsyncClient(trust_env=False) as http:
        config = make_config(tmp_path, upstream, issuer.url, interval_ms=20)
        issuer.audience = config.audience
        issuer.meter_key = p256_point(keyfile.read_or_write_p256(Path(config.meter_key)).public_key())
        node = Node(issuer, config, ec.generate_private_key(ec.SECP256R1()), http)
        async with process(tmp_path, config) as child:
            await node.primed()
            await node.call("GET", "/50", issuer.token(node.session))
            sealed_ms = (await receipt(node, issuer.token(node.session)))["gpu_ms"]
            streaming = asyncio.create_task(node.call("GET", "/30000", issuer.token(node.session)))
            await asyncio.sleep(0.5)
            os.kill(child.pid, signal.SIGKILL)
            await child.wait()
            with pytest.raises(httpx.TransportError):
                await streaming
        issuer.down = False
        async with process(tmp_path, config) as child:
            await node.primed()
            total_ms = (await receipt(node, issuer.token(node.session)))["gpu_ms"]
            child.terminate()
            assert await child.wait() == 0

    # It ran half a second more: all but the last interval of it (and what the machine's load delayed) is there.
    assert total_ms >= sealed_ms + 100
    chained(list(issuer.segments.values()))
    assert len({boot for boot, _ in issuer.segments}) == 1  # nothing was used in the second boot
    assert list(issuer.segments.values())[-1].segment.gpu_ms == total_ms


def test_configuration_is_strict(tmp_path: Path) -> None:
    good = asdict(make_config(tmp_path, "http://127.0.0.1:1", "http://127.0.0.1:2"))
    path = tmp_path / "node.json"

    def load(content: object) -> NodeConfig:
        path.write_bytes(orjson.dumps(content))
        return NodeConfig.load(path)

    assert load(good) == NodeConfig(**good)
    assert load({**good, "spool": "here"}).spool == str(tmp_path / "here")
    defects: list[object] = [[], {**good, "extra": 1}, {k: v for k, v in good.items() if k != "issuer"}]
    wrong = {"gpus": True, "port": "1", "asset": "0x1", "meter": "0x1", "upstream": "ftp://x", "level": 6}
    defects += [{**good, name: value} for name, value in wrong.items()]
    for defect in defects:
        with pytest.raises(BadInput, match=r"node configuration|address"):
            load(defect)
    with pytest.raises(BadInput, match="no such file"):
        NodeConfig.load(tmp_path / "absent.json")
