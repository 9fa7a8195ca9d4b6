"""The way from a genesis file to a closed receipt by commands alone, each as a person would type it."""

import asyncio
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from commonhold.chain.genesis import example
from commonhold.chain.node import start_anvil
from commonhold.demo.processes import HOST, Processes, free_port
from tests.actors import ANVIL
from tests.cli.conftest import Run

pytestmark = [pytest.mark.chain, pytest.mark.slow]

COMPUTE = "compute/h200-sxm"
ROLES = ("deployer", "attester0", "attester1", "appraiser0", "appraiser1", "provider", "developer", "relayer")


@dataclass
class Person:
    """Somebody at a terminal in `folder`, whose commands must succeed."""

    folder: Path
    run: Run

    def file(self, name: str) -> Path:
        return self.folder / name

    async def say(self, *arguments: object) -> str:
        code, out, err = await asyncio.to_thread(self.run, *arguments)
        assert code == 0, (arguments, out, err)
        return out

    async def ask(self, *arguments: object) -> Any:
        return json.loads(await self.say(*arguments, "--json"))


async def test_a_developer_gets_an_answer_and_an_auditor_agrees(run: Run, tmp_path: Path) -> None:
    person, processes = Person(tmp_path, run), Processes(tmp_path)
    async with start_anvil(ANVIL) as anvil:
        try:
            address = {role: (await person.ask("key", "new", person.file(role)))["address"] for role in ROLES}
            for role in ("deployer", "provider", "relayer"):
                await anvil.fund(address[role], 10**20)
            chain = ("--rpc", anvil.url, "--deployment", person.file("deployment.json"))
            deployed = await deploy(person, address, anvil.url)
            await admit(person, address, chain, ("provider", "developer"))

            node_port, service_port = free_port(), free_port()
            gateway, service = f"http://{HOST}:{node_port}", f"http://{HOST}:{service_port}"
            await start_appraisers(person, processes, deployed)
            asset = await register(person, processes, chain, gateway)
            files = ("--data-dir", tmp_path / "data", "--database-url", f"sqlite:///{tmp_path / 'service.db'}")
            loops = ("--poll-s", "0.1", "--settle-s", "0.5", "--epoch-s", "1", "--host", HOST, "--port", service_port)
            keys = ("--relayer-key", person.file("relayer"), "--spot-checks", "9", "--spot-check-s", "0.5")
            await processes.start("service", [*map(str, ("serve", *chain, *files, *keys, *loops))], f"{service}/readyz")
            members = await rows(person, 2, "member", "list", "--service", service)
            assert {row["root"] for row in members} == {address["provider"], address["developer"]}
            listed = await rows(person, 1, "asset", "list", "--service", service)
            assert [row["policy"] for row in listed] == ["development"]

            provider = ("--key", person.file("provider"), *chain)
            credit = (await person.ask("credits", "open", asset, "--price", 0, *provider))["credit"]
            await person.say("credits", "grant", credit, address["developer"], 60, *provider)
            await start_node(person, processes, deployed, asset, service, gateway, node_port)

            developer = ("--key", person.file("developer"), "--service", service)
            lease = ("--lease", person.file("lease.json"), "--session-key", person.file("session.pem"))
            await rows(person, 1, "credits", "list", address["developer"], "--service", service)
            redeemed = await person.ask("redeem", credit, 60, *developer, *lease)
            assert (redeemed["level"], redeemed["policy"]) == (3, "development")
            body = json.dumps({"input": "to each group its share"})
            answer = json.loads(await person.say("call", "POST", "/v1/embeddings", "-d", body, *developer, *lease))
            assert len(answer["data"][0]["embedding"]) == 256
            await person.say("call", "POST", "/v1/matmul", "-d", '{"n": 64}', "--close", *developer, *lease)

            await audit_agrees(person, chain, service)
            async with httpx.AsyncClient(trust_env=False) as http:
                metrics = (await http.get(f"{service}/metrics")).text
            assert "\ncommonhold_mirror_first_row_milliseconds " in metrics
        finally:
            await processes.stop()


async def deploy(person: Person, address: dict[str, str], rpc: str) -> dict[str, Any]:
    genesis = example() | {
        "attesters": [address["attester0"], address["attester1"]],
        "attester_threshold": 2,
        "admissions_per_day": 10,
        "appraisers": [address["appraiser0"], address["appraiser1"]],
        "appraiser_threshold": 2,
        "classes": [
            {
                "name": COMPUTE,
                "kind": "COMPUTE",
                "unit": "GPU",
                "hold_bps": 5000,
                "use_bps": 5000,
                "min_level": 3,
                "floor": "4.000000",
            }
        ],
        "window_seconds": 604800,
        "horizon": 2,
        "token": None,
    }
    person.file("genesis.json").write_text(json.dumps(genesis))
    options = ("--key", person.file("deployer"), "--out", person.file("deployment.json"), "--rpc", rpc)
    deployed: dict[str, Any] = await person.ask("deploy", person.file("genesis.json"), *options)
    assert deployed["deployer_roles"] == []
    return deployed


async def admit(person: Person, address: dict[str, str], chain: tuple[object, ...], members: tuple[str, ...]) -> None:
    now = int(time.time())
    for member in members:
        statements = []
        for attester in ("attester0", "attester1"):
            statement = person.file(f"{member}-{attester}.json")
            options = ("--identity", f"LEI of {member}", "--now", now, "--out", statement)
            key = ("--key", person.file(attester), "--deployment", person.file("deployment.json"))
            await person.say("member", "sign-admission", address[member], *options, *key)
            statements.append(statement)
        await person.say("member", "admit", *statements, "--key", person.file("relayer"), *chain)


async def start_appraisers(person: Person, processes: Processes, deployed: dict[str, Any]) -> None:
    await person.say("node", "authority", person.file("authority"))
    starts = []
    for role in ("appraiser0", "appraiser1"):
        folder, port = person.file(f"{role}-home"), free_port()
        options = ("--ledger", deployed["Ledger"], "--chain-id", deployed["chain_id"], "--port", port)
        root = ("--development-root", person.file("authority") / "root.pem")
        await person.say("appraiser", "init", folder, *options, *root)
        # The key that the ledger knows, in place of the new one.
        folder.joinpath("appraiser.key").write_bytes(person.file(role).read_bytes())
        starts.append(
            processes.start(role, ["appraiser", "serve", str(folder / "appraiser.json")], f"http://{HOST}:{port}")
        )
        person.file(f"{role}.url").write_text(f"http://{HOST}:{port}")
    await asyncio.gather(*starts)


async def register(person: Person, processes: Processes, chain: tuple[object, ...], gateway: str) -> str:
    await person.say("key", "new", "--p256", person.file("node") / "meter.pem")
    appraisers = [part for i in (0, 1) for part in ("--appraiser", person.file(f"appraiser{i}.url").read_text())]
    development = ("--policy", "development", "--authority", person.file("authority"))
    serials = ("--gpu-serial", 1, "--gpu-serial", 2)
    owner = ("--key", person.file("provider"), "--meter-key", person.file("node") / "meter.pem", "--uri", gateway)
    row = await person.ask(
        *("asset", "register-node", "--class", COMPUTE, "--valid-hours", 23),
        *(*appraisers, *development, *serials, *owner, *chain),
    )
    assert row["level"] == "3 attested (development)"
    renewal = ("--key", person.file("provider"), "--meter-key", person.file("node") / "meter.pem", *chain)
    node = ("--class", COMPUTE, *appraisers, *development, *serials)
    renewed = await person.ask("asset", "renew-node", row["asset"], *node, *renewal)
    assert renewed["expires_at"] > row["expires_at"]
    return str(row["asset"])


async def start_node(
    person: Person,
    processes: Processes,
    deployed: dict[str, Any],
    asset: str,
    service: str,
    gateway: str,
    node_port: int,
) -> None:
    upstream = free_port()
    where = f"http://{HOST}:{upstream}"
    await processes.start("workload", ["node", "workload", "--port", str(upstream)], f"{where}/v1/models")
    config = person.file("node") / "node.json"
    peers = ("--service", service, "--public-url", gateway, "--upstream", where, "--port", node_port)
    about = ("--asset", asset, "--gpus", 2, "--policy", "development", "--level", 3, "--segment-ms", 500)
    contracts = ("--chain-id", deployed["chain_id"], "--meter", deployed["Meter"])
    await person.say("node", "config", config, *peers, *about, *contracts)
    ready = f"{gateway}/.well-known/oauth-protected-resource"
    await processes.start("node", ["node", "serve", str(config)], ready)


async def rows(person: Person, count: int, *command: object) -> list[dict[str, Any]]:
    """The rows of a list, once there are `count`: the mirror follows within moments."""
    async with asyncio.timeout(20):
        while True:
            found: list[dict[str, Any]] = await person.ask(*command)
            if len(found) == count:
                return found
            await asyncio.sleep(0.1)


async def audit_agrees(person: Person, chain: tuple[object, ...], service: str) -> None:
    """Settling and anchoring go on for a moment; then every check holds."""
    async with asyncio.timeout(60):
        while True:
            code, out, _ = await asyncio.to_thread(person.run, "audit", *chain, "--service", service, "--json")
            report = json.loads(out)
            hours = [row["gpu_ms"] for row in report["gpu_hours"]]
            if code == 0 and hours and hours[0] > 0:
                assert report["ok"]
                return
            await asyncio.sleep(0.5)
