"""Steps 6 and 7: the workload behind the gateway, and what becomes of the time it took."""

import secrets
import time
from functools import partial
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from commonhold import actions
from commonhold.access import dpop
from commonhold.anchor.merkle import Leaf, LeafKind, verify
from commonhold.client.errors import BudgetSpent
from commonhold.client.lease import Lease
from commonhold.demo import show
from commonhold.demo.assets import GPU_SERIALS, NODE_SPLIT
from commonhold.demo.processes import HOST, free_port
from commonhold.demo.redeeming import LEASED_S, PRICE
from commonhold.demo.world import World, wait_for
from commonhold.signing import Receipt, es256_digest
from commonhold.units import GpuMs, address_text, gpu_hours_text, hex_text, level_text, to_hash32, units_text
from commonhold.workload import MODEL

INTERVAL_MS = 200
TEXTS = [f"sentence {number} about compute that belongs to many" for number in range(64)]
MATMUL = {"n": 512, "batch": 4, "seed": 7}
MOST_CALLS = 2_000


async def call_until_spent(world: World) -> None:
    """Step 6."""
    show.step(6, "A workload behind the provider's gateway")
    await _start_node(world)
    lease = world.leases["bought"]
    await _without_token(world)
    await _with_foreign_proof(world, lease)

    embedded = await lease.request("POST", "/v1/embeddings", json={"input": TEXTS, "model": MODEL})
    show.expect("answer of the workload", 200, embedded.status_code)
    vectors = embedded.json()["data"]
    show.fact("POST /v1/embeddings", f"{len(vectors)} texts, {len(vectors[0]['embedding'])} dimensions")
    calls, renewals, token = 1, 0, lease.token
    while True:
        try:
            answer = await lease.request("POST", "/v1/matmul", json=MATMUL)
        except BudgetSpent as spent:
            show.fact("calls", f"{calls}, over {renewals + 1} tokens: each renewal took a receipt signed by both keys")
            show.refused("the gateway, budget spent", str(spent))
            break
        show.expect("answer of the workload", 200, answer.status_code)
        calls += 1
        if lease.token is not token:
            renewals, token = renewals + 1, lease.token
        show.expect_that("calls until the budget is spent", calls < MOST_CALLS, expected=f"< {MOST_CALLS}", got=calls)
    show.expect_that("renewals", renewals > 0, expected="at least one", got=renewals)
    granted = await world.leases["granted"].request("POST", "/v1/matmul", json=MATMUL)
    show.expect("answer under the granted lease", 200, granted.status_code)


async def settle_and_anchor(world: World) -> None:
    """Step 7."""
    show.step(7, "Receipts signed by both sides, settled and anchored")
    receipts = {name: (await lease.close()).receipt for name, lease in world.leases.items()}
    for name, receipt in receipts.items():
        show.fact(f"receipt of the {name} lease", f"{receipt.gpu_ms} GPU-ms, head {hex_text(receipt.head)[:18]}…")
    lease = world.leases["bought"]

    async def settled() -> int | None:
        ms: int = await world.view("Meter", "settledMs", lease.lease)
        return ms if ms >= min(receipts["bought"].gpu_ms, LEASED_S * 1_000) else None

    settled_ms = await wait_for("settlement of the bought lease", settled)
    accrued, _ = await world.view("Ledger", "revenueTotals")
    show.expect("revenue of the node", settled_ms * PRICE // 1_000, accrued)
    show.fact(
        "settle", f"{settled_ms} GPU-ms = {settled_ms // 1_000} GPU-seconds on chain, {units_text(accrued)} CDC earned"
    )
    await _claim(world, accrued)

    for name, receipt in receipts.items():
        proof = await wait_for(f"an anchor over the receipt of the {name} lease", partial(_proof, world, receipt))
        show.fact(
            f"anchor over the {name} receipt",
            f"epoch {proof['epoch']}, root {proof['root'][:18]}… over {proof['count']} leaves, proof of "
            f"{len(proof['proof'])} hashes checked offline",
        )
    await _show_hours(world)


async def _claim(world: World, accrued: int) -> None:
    """Who holds units of the node is paid, in proportion; the part of the commons is everybody's."""
    node, relayer = world.assets["node"], world.sender("relayer")
    for role in NODE_SPLIT:
        owner = world.keys.address(role)
        units = await world.view("Ledger", "balanceOf", owner, node)
        before = await world.view("Coin", "balanceOf", owner)
        await actions.claim(relayer, node, owner)
        paid = await world.view("Coin", "balanceOf", owner) - before
        show.fact(f"claimed for the {role}", f"{units_text(paid)} CDC for {units_text(units)} units")
    if await world.view("Ledger", "revenueOf", node, world.deployment.ledger):
        await actions.share_commons(relayer, node)
        before = await world.view("Coin", "balanceOf", world.keys.address("library"))
        await actions.claim_commons(relayer, world.keys.address("library"))
        paid = await world.view("Coin", "balanceOf", world.keys.address("library")) - before
        show.fact("the commons' part", f"shared among the groups: {units_text(paid)} CDC to the library, as to each")
    total, claimed = await world.view("Ledger", "revenueTotals")
    show.expect("revenue in all", accrued, total)
    show.expect_that("claimed", 0 < claimed <= total, expected=f"1 to {total}", got=claimed)


async def _start_node(world: World) -> None:
    upstream_port, node_port = free_port(), int(world.node_url.rsplit(":", 1)[1])
    await world.processes.start(
        "workload",
        ["node", "workload", "--host", HOST, "--port", str(upstream_port)],
        f"http://{HOST}:{upstream_port}/v1/models",
    )
    asset = (await world.http.get(f"{world.service_url}/v1/assets/{world.assets['node']}")).json()
    config = world.folder / "node" / "node.json"
    await world.processes.call(
        [
            *("node", "config", str(config), "--service", world.service_url, "--public-url", world.node_url),
            *("--asset", str(world.assets["node"]), "--upstream", f"http://{HOST}:{upstream_port}"),
            *("--gpus", str(len(GPU_SERIALS)), "--chain-id", str(world.deployment.chain_id)),
            *("--meter", address_text(world.deployment.meter), "--policy", asset["policy"]),
            *("--level", str(asset["level"]), "--port", str(node_port)),
            *("--interval-ms", str(INTERVAL_MS), "--segment-ms", "1000"),
        ]
    )
    ready = f"{world.node_url}/.well-known/oauth-protected-resource"
    await world.processes.start("node", ["node", "serve", str(config)], ready)
    show.fact("the node", f"{world.node_url}, in front of a workload on this machine's CPU")


async def _without_token(world: World) -> None:
    answer = await world.http.post(f"{world.node_url}/v1/matmul", json=MATMUL)
    show.expect("answer without a token", 401, answer.status_code)
    show.refused("the gateway, no token", answer.json()["detail"])


async def _with_foreign_proof(world: World, lease: Lease) -> None:
    """The token alone is worth nothing: the proof must be by the session key."""
    url = f"{world.node_url}/v1/matmul"
    nonce = None
    for _ in range(2):  # the first answer may only hand out a nonce
        proof = dpop.make(
            ec.generate_private_key(ec.SECP256R1()),
            method="POST",
            url=url,
            now_s=int(time.time()),
            jti=secrets.token_urlsafe(16),
            access_token=lease.token.text,
            nonce=nonce,
        )
        headers = {"Authorization": f"DPoP {lease.token.text}", "DPoP": proof}
        answer = await world.http.post(url, json=MATMUL, headers=headers)
        nonce = answer.headers.get("DPoP-Nonce")
    show.expect("answer to another key's proof", 401, answer.status_code)
    show.refused("the gateway, another key's proof", answer.json()["detail"])


async def _proof(world: World, receipt: Receipt) -> dict[str, Any] | None:
    """The proof that the receipt is under an anchor that the chain has; None: not yet. Checked here, offline."""
    digest = hex_text(es256_digest(world.deployment.domain("Meter"), receipt))
    epochs = (await world.http.get(f"{world.service_url}/v1/epochs")).json()
    for epoch in epochs:
        if epoch["state"] not in ("anchored", "final"):
            continue
        url = f"{world.service_url}/v1/epochs/{epoch['number']}/proof"
        answer = await world.http.get(url, params={"digest": digest})
        if answer.is_success:
            proof: dict[str, Any] = answer.json()
            leaf = Leaf(LeafKind.RECEIPT, receipt.lease, to_hash32(digest), GpuMs(receipt.gpu_ms))
            siblings = [to_hash32(text) for text in proof["proof"]]
            show.expect("proof of a receipt", True, verify(to_hash32(epoch["root"]), leaf, siblings))
            return proof | {"count": epoch["count"]}
    return None


async def _show_hours(world: World) -> None:
    for row in (await world.http.get(f"{world.service_url}/v1/hours")).json():
        hours = gpu_hours_text(row["gpu_ms"])
        show.fact(
            "GPU-hours metered", f"{hours}, level {level_text(row['level'], row['policy'])}, window {row['window']}"
        )
