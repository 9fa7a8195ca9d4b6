"""Who acts in the tests, and a deployment for them to act in.

Actors are roles: any name has one key, the same in every run. `Deployed` has what many tests need done before their own
part: members, assets, credits, leases. What it sends is signed and mined as in life; it takes no short cut.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from eth_account import Account

from commonhold import p256, signing
from commonhold.chain.deploy import deploy
from commonhold.chain.deployment import ContractName, Deployment
from commonhold.chain.events import Registered
from commonhold.chain.genesis import ClassParams, Genesis
from commonhold.chain.node import Anvil
from commonhold.chain.rpc import Rpc
from commonhold.chain.send import Mined, Sender
from commonhold.p256 import P256_ORDER
from commonhold.signing import Statement
from commonhold.units import (
    UNIT,
    Address,
    AssetId,
    CreditId,
    Hash32,
    address_text,
    class_id,
    credit_id,
    keccak256,
    to_address,
)

ROOT = Path(__file__).parent.parent
ANVIL = Path(os.environ.get("ANVIL", ROOT / "contracts" / "node_modules" / ".bin" / "anvil"))

ATTESTERS = ("attester0", "attester1", "attester2")
APPRAISERS = ("appraiser0", "appraiser1", "appraiser2")
# Who has the chain's own coin for gas. The developer has none: redeeming needs none.
FUNDED = ("deployer", "provider", "affiliate", "owner", "buyer", "lessee", "relayer", "submitter", "stranger")

DAY_S = 86_400
WEEK_S = 604_800
YEAR_S = 365 * 86_400
COMPUTE, DATA, MODEL = "compute/h100-sxm", "data/text", "model/llm"
CLASSES = (
    ClassParams(COMPUTE, 2, "GPU", hold_bps=3_000, use_bps=2_000, min_level=3, floor_units=100 * UNIT),
    ClassParams(DATA, 0, "MB", hold_bps=5_000, use_bps=5_000, min_level=0, floor_units=1_000 * UNIT),
    ClassParams(MODEL, 1, "MB", hold_bps=5_000, use_bps=5_000, min_level=0, floor_units=1_000 * UNIT),
)


def key_of(role: str) -> bytes:
    """The 32-byte key of a wallet."""
    return hashlib.sha256(b"commonhold test wallet " + role.encode()).digest()


def address_of(role: str) -> Address:
    """The account of a role."""
    return to_address(Account.from_key(key_of(role)).address)


def p256_of(role: str) -> ec.EllipticCurvePrivateKey:
    """A P-256 key: a node's meter key, or a developer's session key."""
    number = int.from_bytes(hashlib.sha256(b"commonhold test device " + role.encode()).digest())
    return ec.derive_private_key(number % (P256_ORDER - 1) + 1, ec.SECP256R1())


def point_of(role: str) -> bytes:
    """x || y of the role's P-256 key, 64 bytes."""
    return p256.p256_point(p256_of(role).public_key())


def genesis() -> Genesis:
    """What every test deployment is made with: 2 of 3 attesters, 2 of 3 appraisers, three classes, weeks as windows."""
    return Genesis(
        attesters=tuple(address_of(role) for role in ATTESTERS),
        attester_threshold=2,
        admissions_per_day=100,
        appraisers=tuple(address_of(role) for role in APPRAISERS),
        appraiser_threshold=2,
        classes=CLASSES,
        window_seconds=WEEK_S,
        horizon=4,
        token=None,
        detach_delay=DAY_S,
        recovery_delay=DAY_S,
        grace_period=DAY_S,
        settle_delay=DAY_S,
        timelock_delay=DAY_S,
        voting_delay=3_600,
        voting_period=DAY_S,
    )


async def deploy_on(anvil: Anvil, made_with: Genesis | None = None) -> Deployment:
    """The contracts stand on the chain, and the funded roles can pay for gas. None: with `genesis()`."""
    for role in FUNDED:
        await anvil.fund(address_text(address_of(role)), 10**20)
    async with Rpc(anvil.url) as rpc:
        return await deploy(rpc, key_of("deployer"), made_with or genesis())


@dataclass
class Deployed:
    """A deployment on a development chain, and its actors."""

    anvil: Anvil
    rpc: Rpc
    deployment: Deployment
    window_seconds: int = WEEK_S
    _senders: dict[str, Sender] = field(default_factory=dict)

    def sender(self, role: str) -> Sender:
        """The role's account, sending."""
        if role not in self._senders:
            self._senders[role] = Sender(self.rpc, key_of(role), self.deployment, timeout_s=20)
        return self._senders[role]

    async def send(self, role: str, name: ContractName, function: str, *args: object, check: bool = True) -> Mined:
        """The role's call is mined."""
        return await self.sender(role).transact(name, function, *args, check=check)

    async def now(self) -> int:
        """The chain's time: timestamp of the newest block."""
        return (await self.rpc.head()).timestamp

    async def window(self, ahead: int = 0) -> int:
        """The present window, or one `ahead` of it."""
        return await self.now() // self.window_seconds + ahead

    async def fund(self, role: str, wei: int = 10**20) -> None:
        """The role can pay for gas."""
        await self.anvil.fund(address_text(address_of(role)), wei)

    async def pay(self, role: str, amount: int) -> None:
        """The role has `amount` more of the payment token, and Access may take it."""
        await self.send("deployer", "Coin", "transfer", address_of(role), amount)
        await self.send(role, "Coin", "approve", self.deployment.access, amount)

    def sign(self, role: str, statement: Statement) -> bytes:
        """The role's EIP-712 signature, 65 bytes."""
        name: ContractName = statement.CONTRACT  # type: ignore[assignment]
        digest = signing.digest(self.deployment.domain(name), statement)
        return bytes(Account.unsafe_sign_hash(digest, key_of(role)).signature)

    def quorum(self, roles: Sequence[str], statement: Statement) -> list[tuple[Address, bytes]]:
        """Signatures of the roles, in the order that the contracts ask for."""
        return sorted((address_of(role), self.sign(role, statement)) for role in roles)

    async def admit(self, *roles: str, until: int | None = None) -> None:
        """The roles are members, for a year unless `until` says otherwise."""
        now = await self.now()
        for role in roles:
            statement = signing.Admission(
                address_of(role), keccak256(b"person " + role.encode()), until or now + YEAR_S, now + 3_600
            )
            await self.send("relayer", "Members", "admit", statement, self.quorum(ATTESTERS[:2], statement))

    async def attach(self, member: str, controller: str) -> None:
        """The member's group has joined the controller's. Both are the roots of their groups."""
        at = await self.rpc.head()
        nonce = await self.rpc.call("Members", self.deployment.members, "nonces", address_of(member), at=at)
        statement = signing.Attachment(address_of(member), address_of(controller), nonce, at.timestamp + 3_600)
        signatures = self.sign(member, statement), self.sign(controller, statement)
        await self.send("relayer", "Members", "attach", statement, *signatures)

    async def appraisal(
        self,
        operator: str,
        units: int,
        *,
        name: str = "asset",
        of_class: str = COMPUTE,
        level: int | None = None,
        policy: str = "development",
        expires_in_s: int = YEAR_S,
    ) -> signing.Appraisal:
        """What appraisers would sign for an asset called `name`. COMPUTE: with one device per GPU and the meter key
        `p256_of(name)`."""
        compute, now = of_class == COMPUTE, await self.now()
        point = point_of(name) if compute else bytes(64)
        devices = [keccak256(f"device {at} of {name}".encode()) for at in range(units // UNIT if compute else 0)]
        return signing.Appraisal(
            class_id=class_id(of_class),
            registrant=address_of(operator),
            content_hash=keccak256(f"content of {name}".encode()),
            result_hash=keccak256(f"result of {name}".encode()),
            policy=policy,
            units=units,
            level=(3 if compute else 0) if level is None else level,
            devices=tuple(sorted(devices)),
            meter_key_x=Hash32(point[:32]),
            meter_key_y=Hash32(point[32:]),
            expires_at=now + expires_in_s,
            deadline=now + 3_600,
        )

    async def register(
        self,
        appraisal: signing.Appraisal,
        operator: str,
        *,
        split: Mapping[str, int] | None = None,
        commons_price: int = 0,
        uri: str = "http://127.0.0.1:9/",
    ) -> AssetId:
        """The appraised asset is registered; `split` has the units of each owner, all the operator's unless given."""
        shares = [(address_of(owner), units) for owner, units in (split or {operator: appraisal.units}).items()]
        quorum = self.quorum(APPRAISERS[:2], appraisal)
        mined = await self.send(operator, "Ledger", "register", appraisal, quorum, shares, commons_price, uri)
        return next(AssetId(event.asset) for event in mined.events if isinstance(event, Registered))

    async def register_compute(
        self,
        operator: str = "provider",
        gpus: int = 8,
        *,
        name: str = "node",
        split: Mapping[str, int] | None = None,
        uri: str = "http://127.0.0.1:9/",
    ) -> AssetId:
        """A machine of `gpus` GPUs is registered; the operator is a member already. Meter key: `p256_of(name)`."""
        appraisal = await self.appraisal(operator, gpus * UNIT, name=name)
        return await self.register(appraisal, operator, split=split, uri=uri)

    async def register_data(
        self, operator: str = "provider", units: int = 10 * UNIT, *, name: str = "texts", of_class: str = DATA
    ) -> AssetId:
        """A dataset (or, with `of_class` MODEL, a model) is registered."""
        return await self.register(await self.appraisal(operator, units, name=name, of_class=of_class), operator)

    async def open(
        self, asset: AssetId, *, operator: str = "provider", window: int | None = None, tranche: int = 0, price: int = 0
    ) -> CreditId:
        """Credits of the asset in a window (the present one unless given) can be granted, or bought at `price`."""
        window = await self.window() if window is None else window
        await self.send(operator, "Access", "open", asset, window, tranche, price)
        return credit_id(asset, window, tranche)

    async def grant(self, credit: CreditId, to: str, seconds: int, *, operator: str = "provider") -> None:
        """The role holds `seconds` more credits."""
        await self.send(operator, "Access", "grant", credit, address_of(to), seconds)

    async def redemption(
        self, holder: str, credit: CreditId, seconds: int, *, session: str | None = None, nonce: int = 0
    ) -> tuple[signing.Redemption, bytes]:
        """The statement that redeems credits for the session key `p256_of(session)` (the holder's own name unless
        given), with the holder's signature."""
        point = point_of(session or holder)
        statement = signing.Redemption(
            holder=address_of(holder),
            id=credit,
            amount=seconds,
            key_x=Hash32(point[:32]),
            key_y=Hash32(point[32:]),
            nonce=nonce,
            deadline=await self.now() + 3_600,
        )
        return statement, self.sign(holder, statement)

    async def redeem(
        self, holder: str, credit: CreditId, seconds: int, *, session: str | None = None, nonce: int = 0
    ) -> Hash32:
        """The holder's credits are a lease; the relayer paid the gas. The lease's id."""
        statement, signature = await self.redemption(holder, credit, seconds, session=session, nonce=nonce)
        await self.send("relayer", "Access", "redeemFor", statement, signature)
        return signing.digest(self.deployment.domain("Access"), statement)

    async def lease(
        self, seconds: int = 3_600, *, holder: str = "developer", name: str = "node"
    ) -> tuple[AssetId, Hash32]:
        """All at once: provider and holder are members, a node of 8 GPUs stands, the holder has a lease of `seconds` of
        it in the present window."""
        await self.admit("provider", holder)
        asset = await self.register_compute(name=name)
        credit = await self.open(asset)
        await self.grant(credit, holder, seconds)
        return asset, await self.redeem(holder, credit, seconds)

    def signed_receipt(
        self,
        lease: Hash32,
        gpu_ms: int,
        *,
        node: str = "node",
        session: str = "developer",
        head: Hash32 | None = None,
        key_number: int = 0,
    ) -> tuple[signing.Receipt, int, Hash32, Hash32, Hash32, Hash32]:
        """A receipt with both signatures, as Meter.settle takes it."""
        receipt = signing.Receipt(lease, gpu_ms, head or keccak256(b"head"))
        message = signing.preimage(self.deployment.domain("Meter"), receipt)
        halves = [p256.sign_es256(p256_of(role), message) for role in (node, session)]
        r_s = [Hash32(half) for signature in halves for half in (signature[:32], signature[32:])]
        return receipt, key_number, r_s[0], r_s[1], r_s[2], r_s[3]
