"""Puts a new deployment on a chain, and tells what an account may do in one.

The four contracts name each other and nothing of that can change later, so each is made at an address that is known
before: the deployer's nonces decide it. The deployer gets no role; `roles` is how anyone checks that.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from commonhold.chain import events
from commonhold.chain.contract import encode_deployment
from commonhold.chain.decode import decode
from commonhold.chain.deployment import ContractName, Deployment
from commonhold.chain.events import ChainEvent
from commonhold.chain.outbox import MAX_GAS, Outbox
from commonhold.chain.rpc import Rpc, RpcRefused
from commonhold.chain.stamp import BlockStamp
from commonhold.errors import CommonholdError
from commonhold.units import Address, address_text, class_id, keccak256

COIN = ("Commonhold development coin", "CDC")
COIN_SUPPLY = 10**15  # a thousand million coins of 6 decimals


class DeployFailed(CommonholdError):
    """The contracts on the chain are not the ones that were meant. Nothing of them is of use."""

    code = "deploy_failed"


@dataclass(frozen=True, slots=True)
class ClassParams:
    """One class as Ledger's constructor takes it; it never changes. Meanings: ILedger.sol."""

    name: str
    kind: int  # 0 DATA, 1 MODEL, 2 COMPUTE
    unit: str
    hold_bps: int
    use_bps: int
    min_level: int
    floor_units: int


@dataclass(frozen=True, slots=True)
class Genesis:
    """All that is fixed when the contracts are made."""

    attesters: Sequence[Address]
    attester_threshold: int
    admissions_per_day: int
    appraisers: Sequence[Address]
    appraiser_threshold: int
    classes: Sequence[ClassParams]
    window_seconds: int
    horizon: int  # windows ahead that can be opened
    token: Address | None  # of payment; None: a development coin is made, all of it the deployer's


async def deploy(rpc: Rpc, key: bytes, genesis: Genesis) -> Deployment:
    """The contracts stand, name each other, and hold what `genesis` says; `key` pays for the gas.

    Raises ContractRefused when a constructor refuses its arguments, DeployFailed when something else used the
    deployer's nonces at the same time.
    """
    chain_id = await rpc.chain_id()
    outbox = Outbox(rpc, key, chain_id)
    nonce = await rpc.nonce(outbox.address)

    token = genesis.token
    if token is None:
        coin = (*COIN, outbox.address, COIN_SUPPLY)
        token, _ = await _make(rpc, outbox, "Coin", coin, nonce)
        nonce += 1
    members, ledger, access, meter = (created(outbox.address, nonce + at) for at in range(4))

    attesters = (genesis.attesters, genesis.attester_threshold, genesis.admissions_per_day)
    appraisers = (genesis.appraisers, genesis.appraiser_threshold, genesis.classes)
    windows = (genesis.window_seconds, genesis.horizon, token)
    _, first = await _make(rpc, outbox, "Members", (*attesters, ledger, access), nonce)
    await _make(rpc, outbox, "Ledger", (*appraisers, members), nonce + 1)
    await _make(rpc, outbox, "Access", (*windows, members, ledger, meter), nonce + 2)
    _, last = await _make(rpc, outbox, "Meter", (ledger, access, members), nonce + 3)

    deployment = Deployment(
        chain_id=chain_id,
        members=members,
        ledger=ledger,
        access=access,
        meter=meter,
        token=token,
        block=first.number,
        block_hash=first.hash,
        deployer=outbox.address,
    )
    await _verify(rpc, deployment, genesis, last)
    return deployment


def created(deployer: Address, nonce: int) -> Address:
    """The address of the contract that `deployer` makes with `nonce`: of the hash of both in RLP.

    Source: Ethereum Yellow Paper, section 7 (77 in RLP: appendix B).
    """
    digits = nonce.to_bytes((nonce.bit_length() + 7) // 8)
    number = digits if 0 < nonce < 0x80 else bytes([0x80 + len(digits)]) + digits
    parts = bytes([0x80 + 20]) + deployer + number
    return Address(keccak256(bytes([0xC0 + len(parts)]) + parts)[12:])


async def roles(rpc: Rpc, deployment: Deployment, account: Address, at: BlockStamp) -> list[str]:
    """Every power that the contracts give the account at a block, in words; empty: it has none.

    The contracts have no other: no owner, no administrator, nobody who may pause or replace them.
    """
    found: list[str] = []
    if await rpc.call("Members", deployment.members, "isAttester", account, at=at):
        found.append("attester")
    if await rpc.call("Ledger", deployment.ledger, "isAppraiser", account, at=at):
        found.append("appraiser")
    if (await rpc.call("Members", deployment.members, "memberOf", account, at=at)).since:
        found.append("member")

    trusted: dict[tuple[str, Address], bool] = {}
    async for event in _history(rpc, deployment, at):
        if isinstance(event, events.Registered) and event.registrant == account:
            found.append(f"operator of asset {event.asset}")
        if isinstance(event, events.OperatorSet) and event.spender == account:
            trusted[event.contract, event.owner] = event.approved
    found += [f"ERC-6909 operator of {address_text(owner)} in {name}" for (name, owner), on in trusted.items() if on]
    return found


async def _make(
    rpc: Rpc, outbox: Outbox, name: ContractName, args: Sequence[object], nonce: int
) -> tuple[Address, BlockStamp]:
    """The contract stands at the address that `nonce` gives it."""
    code = encode_deployment(name, args)
    gas = await rpc.gas(outbox.address, None, code, what=f"constructor of {name}", name=name)
    try:
        receipt, block = await outbox.send(None, code, min(gas * 5 // 4, MAX_GAS), nonce=nonce)
    except RpcRefused as error:
        text = f"{name}: nonce {nonce} of {address_text(outbox.address)} was not to be had: {error}"
        raise DeployFailed(text) from error
    expected = created(outbox.address, nonce)
    if not receipt.ok or receipt.contract != expected:
        got = address_text(receipt.contract) if receipt.ok and receipt.contract else "nothing"
        raise DeployFailed(f"{name}: expected it at {address_text(expected)}, got {got}")
    return expected, block


async def _verify(rpc: Rpc, deployment: Deployment, genesis: Genesis, at: BlockStamp) -> None:
    """What can never change is what was meant. Raises DeployFailed."""
    expected: dict[tuple[ContractName, str], object] = {
        ("Members", "ledger"): deployment.ledger,
        ("Members", "access"): deployment.access,
        ("Members", "attesters"): tuple(genesis.attesters),
        ("Members", "threshold"): genesis.attester_threshold,
        ("Members", "admissionsPerDay"): genesis.admissions_per_day,
        ("Ledger", "members"): deployment.members,
        ("Ledger", "appraisers"): tuple(genesis.appraisers),
        ("Ledger", "threshold"): genesis.appraiser_threshold,
        ("Ledger", "classIds"): tuple(class_id(params.name) for params in genesis.classes),
        ("Access", "members"): deployment.members,
        ("Access", "ledger"): deployment.ledger,
        ("Access", "meter"): deployment.meter,
        ("Access", "token"): deployment.token,
        ("Access", "windowSeconds"): genesis.window_seconds,
        ("Access", "horizon"): genesis.horizon,
        ("Meter", "members"): deployment.members,
        ("Meter", "ledger"): deployment.ledger,
        ("Meter", "access"): deployment.access,
    }
    for (name, function), value in expected.items():
        got = await rpc.call(name, deployment.address_of(name), function, at=at)
        if got != value:
            raise DeployFailed(f"{name}.{function} of the new deployment: expected {value!r}, got {got!r}")


async def _history(rpc: Rpc, deployment: Deployment, at: BlockStamp) -> AsyncIterator[ChainEvent]:
    """Every event of the deployment up to a block, in order."""
    first = await rpc.header(deployment.block)
    after = await rpc.header(first.number - 1)
    while after.number < at.number:
        span = await rpc.span(deployment.followed, after, at.number)
        for log in span.logs:
            yield decode(log, deployment)
        after = span.blocks[-1]
