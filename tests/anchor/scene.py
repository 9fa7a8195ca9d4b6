"""A pool with a history: members and groups, assets of two kinds, holdings moved, credits granted and bought, leases
used, receipts settled, epochs anchored, and a service that has followed all of it."""

from dataclasses import dataclass

from commonhold import p256, signing
from commonhold.anchor import batch
from commonhold.anchor.batch import Epoch
from commonhold.anchor.publish import publish
from commonhold.db import write
from commonhold.meter.segment import Signature, SignedReceipt, SignedSegment
from commonhold.meter.settle import settle
from commonhold.units import UNIT, AssetId, Hash32
from tests.actors import Deployed, address_of, p256_of
from tests.api.service import Service
from tests.meter.world import Node

GPUS = 40


@dataclass
class Scene:
    """`node` goes on metering the two leases."""

    service: Service
    asset: AssetId
    leases: tuple[Hash32, Hash32]
    node: Node

    @property
    def deployed(self) -> Deployed:
        return self.service.deployed

    async def report(self, *segments: SignedSegment) -> None:
        """The node's segments are recorded."""
        self.service.clock.now_s = await self.deployed.now()
        answer = await self.service.http.post("/v1/segments", json=[signed.to_json() for signed in segments])
        assert [item["status"] for item in answer.json()] == ["recorded"] * len(segments), answer.text

    async def acknowledge(self, lease: Hash32) -> SignedReceipt:
        """The developer has signed for all time of the lease."""
        statement = signing.Receipt(lease, self.node.totals[lease], self.node.heads[lease])
        message = signing.preimage(self.node.domain, statement)
        node, session = (Signature(p256.sign_es256(p256_of(role), message)) for role in ("node", "developer"))
        signed = SignedReceipt(statement, node, session)
        answer = await self.service.http.post("/v1/receipts", json=signed.to_json())
        assert answer.status_code == 200, answer.text
        return signed

    async def close(self) -> Epoch | None:
        """What is open is under one root."""
        async with write(self.service.state.engine) as db:
            return await batch.close(
                db, domain=self.node.domain, submitter=address_of("submitter"), now_s=self.service.clock()
            )

    async def anchor(self) -> Epoch | None:
        """What is open is under one root, on the chain, and mirrored."""
        epoch = await self.close()
        await publish(self.service.state.engine, self.deployed.sender("submitter"), base_uri="http://service")
        await self.service.mirrored()
        return epoch


async def small(service: Service) -> Scene:
    """No more than a node and two leases of it."""
    d = service.deployed
    asset, one = await d.lease(3_600)
    free = await d.open(asset, tranche=1)
    await d.grant(free, "developer", 3_600)
    return await _ready(service, asset, (one, await d.redeem("developer", free, 3_600)), gpus=8)


async def begin(service: Service) -> Scene:
    """Everything up to two leases and a node that serves them."""
    d = service.deployed
    await d.admit("provider", "affiliate", "owner", "developer", "buyer")
    await d.attach("affiliate", "owner")
    split = {"provider": 28 * UNIT, "owner": 12 * UNIT}  # of a floor of 100, one group may hold 30
    asset = await d.register_compute(gpus=GPUS, split=split)
    await d.register_data(units=10 * UNIT)
    await d.send("owner", "Ledger", "transfer", address_of("affiliate"), asset, 3 * UNIT)
    await d.send("provider", "Ledger", "transfer", address_of("developer"), asset, 2 * UNIT)
    free, sold = await d.open(asset), await d.open(asset, tranche=1, price=7)
    await d.grant(free, "developer", 5_000)
    await d.pay("buyer", 10_000_000)
    await d.send("buyer", "Access", "buy", sold, 9_000, 7)
    await d.send("buyer", "Access", "transfer", address_of("developer"), sold, 4_000)
    leases = (await d.redeem("developer", free, 3_600), await d.redeem("developer", sold, 4_000, nonce=1))
    return await _ready(service, asset, leases, gpus=GPUS)


async def _ready(service: Service, asset: AssetId, leases: tuple[Hash32, Hash32], *, gpus: int) -> Scene:
    """All of it is mirrored, and a minute has passed."""
    d = service.deployed
    now_ms = await d.now() * 1000
    domain = d.deployment.domain("Meter")
    node = Node(asset=asset, domain=domain, key=p256_of("node"), gpus=gpus, boot=now_ms, now_ms=now_ms)
    await d.anvil.advance(60)
    await service.mirrored()
    return Scene(service, asset, leases, node)


async def play(service: Service) -> Scene:
    """`begin`, and use: two epochs, one settlement of both leases, one more receipt that waits."""
    scene = await begin(service)
    one, two = scene.leases
    run = [scene.node.work(one), scene.node.work(two, readings=5), scene.node.work(one)]
    await scene.report(*run)
    await scene.acknowledge(one)
    await scene.acknowledge(two)
    await settle(service.state.engine, scene.deployed.sender("stranger"))
    await scene.anchor()
    scene.node.restart()
    await scene.report(scene.node.work(one))
    await scene.acknowledge(one)
    await scene.anchor()
    return scene
