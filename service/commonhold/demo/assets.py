"""Step 3: assets of all three kinds, appraised by a quorum of independent processes over HTTP."""

import asyncio
import json
import time
from datetime import datetime
from pathlib import Path

from commonhold import actions, keyfile
from commonhold.actions import Share
from commonhold.agent.evidence import DevelopmentEvidence
from commonhold.appraiser.devauthority import DevelopmentAuthority
from commonhold.appraiser.nvidia import GpuEvidence, verify
from commonhold.appraiser.policy import nvidia_policy
from commonhold.appraiser.quorum import Quorum
from commonhold.appraiser.result import Kind
from commonhold.demo import show
from commonhold.demo.parties import COMPUTE, DATA, MODEL, QUORUM
from commonhold.demo.processes import HOST, free_port
from commonhold.demo.world import APPRAISERS, World
from commonhold.p256 import p256_point
from commonhold.registering import Panel, appraise_content, appraise_node
from commonhold.units import Units, address_text, level_text, units_text

GPU_SERIALS = (101, 102, 103, 104)
VALIDITY_S = 86_400
# The provider's share exceeds nothing; the investor's part is what step 4 moves.
NODE_SPLIT = {"provider": 2_000_000, "affiliate": 800_000, "investor": 1_200_000}
RECORDED = "h100-550.90.07-nvtrust"


async def start_appraisers(world: World) -> None:
    """Three processes, each with its own key; all trust the development authority, and say so."""
    authority = DevelopmentAuthority.create()
    authority.save(world.folder / "authority")
    (world.folder / "authority" / "root.pem").write_bytes(authority.root_pem)
    ports = [free_port() for _ in APPRAISERS]
    world.appraiser_urls = [f"http://{HOST}:{port}" for port in ports]
    starts = []
    for role, port, url in zip(APPRAISERS, ports, world.appraiser_urls, strict=True):
        config = {
            "key": str(world.keys.file(role)),
            "chain_id": world.deployment.chain_id,
            "ledger": address_text(world.deployment.ledger),
            "development_root": str(world.folder / "authority" / "root.pem"),
            "host": HOST,
            "port": port,
        }
        path = world.folder / f"{role}.json"
        path.write_text(json.dumps(config, indent=2))
        starts.append(world.processes.start(role, ["appraiser", "serve", str(path)], url))
    await asyncio.gather(*starts)


async def register_all(world: World) -> None:
    """Step 3."""
    show.step(3, f"Assets of three kinds, appraised by {QUORUM} of {len(APPRAISERS)} independent appraisers")
    for role, url in zip(APPRAISERS, world.appraiser_urls, strict=True):
        who = (await world.http.get(url)).json()
        show.fact(role, f"{url}, signs as {who['signer']}, policies {_policies(who)}")
    await _register_node(world)
    await _register_content(world)
    appraise_recorded(world)


async def _register_node(world: World) -> None:
    meter_key = keyfile.write_p256(world.folder / "node" / "meter.pem")
    source = DevelopmentEvidence.load(world.folder / "authority", GPU_SERIALS)
    quorum = await appraise_node(
        _panel(world),
        source,
        provider=world.keys.address("provider"),
        class_name=COMPUTE,
        policy="development",
        meter_key=p256_point(meter_key.public_key()),
        now_s=int(time.time()),
        validity_s=VALIDITY_S,
    )
    node_port = free_port()
    world.node_url = f"http://{HOST}:{node_port}"
    split = [Share(world.keys.address(role), Units(units)) for role, units in NODE_SPLIT.items()]
    await _register(world, "node", "provider", quorum, split, world.node_url)
    show.fact("COMPUTE, the evidence", f"{len(GPU_SERIALS)} reports under one nonce, which binds the meter key")
    show.fact("", "made by a development authority on this machine: proves nothing about hardware")


async def _register_content(world: World) -> None:
    folder, model = world.folder / "dataset", world.folder / "model.bin"
    make_dataset(folder)
    make_model(model)
    for name, role, class_name, kind, location in (
        ("dataset", "library", DATA, Kind.DATA, folder),
        ("model", "laboratory", MODEL, Kind.MODEL, model),
    ):
        quorum = await appraise_content(
            _panel(world),
            location,
            provider=world.keys.address(role),
            class_name=class_name,
            kind=kind,
            meter_key=None,
            now_s=int(time.time()),
            validity_s=VALIDITY_S,
        )
        split = [Share(world.keys.address(role), Units(quorum.appraisal.units))]
        await _register(world, name, role, quorum, split, f"{location.as_uri()}")


async def _register(world: World, name: str, role: str, quorum: Quorum, split: list[Share], uri: str) -> None:
    appraisal = quorum.appraisal
    asset, mined = await actions.register(world.sender(role), appraisal, quorum.signatures, split, uri)
    world.assets[name] = asset
    in_commons = await world.view("Ledger", "balanceOf", world.deployment.ledger, asset)
    owned = ", ".join(f"{units_text(s.units)}" for s in split)
    kind = str(quorum.result["kind"])
    show.fact(f"{kind}, {name} of the {role}", f"{units_text(appraisal.units)} units, asset {str(asset)[:12]}…")
    show.fact("", f"level {level_text(appraisal.level, appraisal.policy)}, gas {mined.gas_used}")
    if in_commons:
        show.fact("", f"asked for {owned}; over the limit, so to the commons: {units_text(in_commons)}")


def appraise_recorded(world: World) -> None:
    """Real hardware's bytes through the same verifier, offline, at their recorded clock, up to NVIDIA's pinned root."""
    if world.recorded_evidence is None:
        show.fact("a real H100's report", "left out: no folder of recorded evidence is at hand")
        return
    manifest = json.loads((world.recorded_evidence / "manifest.json").read_text())
    entry = next(entry for entry in manifest["entries"] if entry["id"] == RECORDED)
    files = {name: (world.recorded_evidence / path).read_bytes() for name, path in entry["files"].items()}
    clock_s = int(datetime.fromisoformat(entry["verify_at"]).timestamp())
    verdict = verify(
        GpuEvidence(files["report"], files["chain"]),
        nonce=bytes.fromhex(entry["nonce"]),
        policy=nvidia_policy(),
        now_s=clock_s,
    )
    show.expect(f"verdict on the recorded report {RECORDED}", True, verdict.accepted)
    if verdict.claims is None:
        raise show.DemoFailed(f"recorded report {RECORDED}: expected claims, got none")
    passed = sum(1 for check in verdict.checks if check.ok)
    show.fact(
        "a real H100's report", f"recorded, checked at {entry['verify_at']}: {passed} checks hold, up to NVIDIA's root"
    )
    show.fact(
        "", f"driver {verdict.claims.driver_version}, VBIOS {verdict.claims.vbios_version}; bound to its own nonce"
    )
    show.fact("", "and not to this node: it shows the verifier on real hardware's bytes, no more")


def make_dataset(folder: Path) -> None:
    """A small dataset: three text files."""
    folder.mkdir(parents=True)
    for number in range(3):
        lines = (f"record {number}-{line}: the pool belongs to nobody alone\n" for line in range(400))
        (folder / f"part-{number}.txt").write_text("".join(lines))


def make_model(path: Path) -> None:
    """A small model: 64 x 64 weights, little-endian float32."""
    import numpy as np

    weights = np.random.default_rng(7).standard_normal((64, 64), dtype=np.float32)
    path.write_bytes(weights.astype("<f4").tobytes())


def _panel(world: World) -> Panel:
    return Panel(
        urls=world.appraiser_urls,
        need=QUORUM,
        appraisers=[world.keys.address(role) for role in APPRAISERS],
        ledger=world.deployment.domain("Ledger"),
        http=None,
    )


def _policies(who: dict[str, list[dict[str, object]]]) -> str:
    return ", ".join(str(policy["name"]) for policy in who["policies"])
