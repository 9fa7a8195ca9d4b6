"""The page for people: everything with its level and policy, nothing from elsewhere, and faults shown."""

import base64
import hashlib

import pytest

from commonhold.chain.endpoints import Endpoints
from commonhold.chain.rpc import Rpc
from commonhold.units import Hash32, address_text
from tests.actors import address_of
from tests.api.conftest import sqlite_only
from tests.api.service import Service
from tests.chain.lying import changed, lying

pytestmark = [pytest.mark.chain, sqlite_only]


async def test_the_page_shows_assets_with_level_and_policy(service: Service) -> None:
    await service.deployed.admit("provider", "owner")
    await service.deployed.register_compute(split={"provider": 5_000_000, "owner": 3_000_000})
    await service.mirrored()

    page = await service.http.get("/")

    assert page.status_code == 200
    assert "3 attested (development)" in page.text
    assert '<span class="development">development</span>' in page.text
    assert address_text(address_of("owner")) in page.text
    assert "compute/h100-sxm" in page.text


async def test_the_page_loads_nothing_from_elsewhere(service: Service) -> None:
    page = await service.http.get("/")

    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "src=" not in page.text
    assert "http-equiv" not in page.text


async def test_the_page_may_run_its_own_script_and_no_other(service: Service) -> None:
    page = await service.http.get("/")

    script = page.text.split("<script>")[1].split("</script>")[0]
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{allowed}';" in page.headers["content-security-policy"]


async def test_the_page_names_its_block(service: Service) -> None:
    status = await service.http.get("/status")
    page = await service.http.get("/")

    assert page.headers["commonhold-block"] == status.headers["commonhold-block"]
    assert status.json()["block"]["hash"] in page.text


async def test_only_web_addresses_of_anchors_are_links(service: Service) -> None:
    uris = ("https://epochs.example/0", "javascript:alert(1)")
    for epoch, uri in enumerate(uris):
        await service.deployed.send("stranger", "Meter", "anchor", epoch, Hash32(b"\1" * 32), 1, 1, uri)
    await service.mirrored()

    page = await service.http.get("/")

    assert [uri in page.text for uri in uris] == [True, True]
    assert [f'href="{uri}"' in page.text for uri in uris] == [True, False]


async def test_what_is_registered_cannot_run_as_script(service: Service) -> None:
    await service.deployed.admit("provider")
    appraisal = await service.deployed.appraisal("provider", 8_000_000, policy="<script>alert(1)</script>")
    await service.deployed.register(appraisal, "provider")
    await service.mirrored()

    page = await service.http.get("/")

    assert "<script>alert" not in page.text
    assert "&lt;script&gt;alert(1)" in page.text


async def test_a_stopped_loop_is_shown_and_withdraws_readiness(service: Service) -> None:
    assert (await service.http.get("/readyz")).status_code == 204
    assert (await service.http.get("/status")).json()["faults"] == {}

    service.state.faults = lambda: {"follow": "UnknownEvent: block 12, log 3"}

    ready = await service.http.get("/readyz")
    assert ready.status_code == 503
    assert "follow: UnknownEvent: block 12, log 3" in ready.json()["detail"]
    assert (await service.http.get("/status")).json()["faults"] == {"follow": "UnknownEvent: block 12, log 3"}
    assert "UnknownEvent: block 12, log 3" in (await service.http.get("/")).text


async def test_logs_that_are_not_recomputed_are_said_so(service: Service) -> None:
    verified, page = (await service.http.get("/status")).json()["logs_verified"], (await service.http.get("/")).text
    async with Rpc(service.deployed.anvil.url, verify_logs=False) as rpc:
        service.state.rpc = rpc

        told, warned = (await service.http.get("/status")).json()["logs_verified"], (await service.http.get("/")).text

    assert (verified, told) == (True, False)
    assert "Not verified" in warned
    assert "Not verified" not in page


async def test_a_node_that_lied_is_named_while_another_serves(service: Service) -> None:
    url = service.deployed.anvil.url
    lie = changed("eth_getBlockByNumber", lambda block: block | {"timestamp": "0x1"})
    async with lying(url, lie) as liar, Endpoints([liar, url]) as rpc:
        service.state.rpc = rpc

        ready = await service.http.get("/readyz")
        faults = (await service.http.get("/status")).json()["faults"]

        assert ready.status_code == 204
        assert list(faults) == [f"rpc {rpc.health()[0].host}"]
        assert "from its fields" in next(iter(faults.values()))
        assert rpc.health()[0].host in (await service.http.get("/")).text
