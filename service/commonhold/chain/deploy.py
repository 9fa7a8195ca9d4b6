"""Puts a new deployment on a chain, step by step: what stands already is left as it is, so that one that failed goes on
where it stopped, and one that is finished changes nothing.

The contracts name each other and nothing of that can change later, so each is made at an address that is known before:
the factory's CREATE3 derives it from deployer and salt alone, the same on every chain. The deployer gets no role;
powers.py is how anyone checks that.
"""

from collections.abc import Callable, Mapping, Sequence

from commonhold.chain import code
from commonhold.chain.contract import contract, encode_call, encode_deployment
from commonhold.chain.deployment import FOLLOWED, MADE, ContractName, Deployment
from commonhold.chain.genesis import ClassParams, Genesis
from commonhold.chain.outbox import MAX_GAS, Outbox
from commonhold.chain.rpc import Rpc
from commonhold.chain.stamp import BlockStamp
from commonhold.errors import CommonholdError
from commonhold.signing import ZERO32
from commonhold.units import Address, Hash32, address_text, class_id, keccak256

__all__ = ["ClassParams", "DeployFailed", "Genesis", "NoProxy", "deploy", "make_factory"]

COIN = ("Commonhold development coin", "CDC")
COIN_SUPPLY = 10**15  # a thousand million coins of 6 decimals

# The deterministic deployment proxy, at one address on nearly every chain: it makes what it is sent, by CREATE2.
# It is the one of github.com/Arachnid/deterministic-deployment-proxy.
PROXY = Address(bytes.fromhex("4e59b44847b379578588920ca78fbf26c0b4956c"))

# Ledger first: Access asks it how many classes there can be.
ORDER: tuple[ContractName, ...] = ("Coin", "Ledger", "Members", "Access", "Meter", "Timelock", "Council")

OnMade = Callable[[ContractName, Address, bool], None]  # the last: it was made now


class DeployFailed(CommonholdError):
    """The contracts on the chain are not the ones that were meant. Nothing of them is of use."""

    code = "deploy_failed"


class NoProxy(CommonholdError):
    """The chain lacks the proxy that makes the factory at its one address."""

    code = "no_proxy"


async def deploy(
    rpc: Rpc,
    key: bytes,
    genesis: Genesis,
    *,
    salt: Hash32 = ZERO32,
    factory: Address | None = None,
    on_made: OnMade = lambda name, address, now: None,
) -> Deployment:
    """The contracts stand, name each other, and hold what `genesis` says; `key` pays for the gas.

    factory: one that `make_factory` made, on a chain without the proxy. Raises ContractRefused when a constructor
    refuses its arguments; NoProxy; DeployFailed when what stands at an address is something else.
    """
    chain_id = await rpc.chain_id()
    outbox = Outbox(rpc, key, chain_id)
    before = await rpc.head("latest")
    factory = await _factory(rpc, outbox, factory, on_made)
    at = await rpc.head("latest")
    places = {
        name: await rpc.call("Factory", factory, "addressOf", outbox.address, _salt(salt, name), at=at)
        for name in ORDER
    }
    if genesis.token is not None:
        places["Coin"] = genesis.token
    stood = [places[name] for name in ORDER[1:] if await rpc.code(places[name], at)]

    deployment = Deployment(
        chain_id=chain_id,
        **{name.lower(): places[name] for name in FOLLOWED},
        factory=factory,
        token=places["Coin"],
        block=before.number,
        block_hash=before.hash,
        deployer=outbox.address,
        salt=salt,
        code=dict.fromkeys(MADE, ZERO32),
        genesis=genesis,
    )
    first = await _first_with(rpc, stood[0], at) if stood else None
    for name in ORDER:
        if places[name] in stood or (name == "Coin" and await rpc.code(places[name], at)):
            on_made(name, places[name], False)
            continue
        args = arguments(name, deployment)
        init = encode_call("Factory", "create", (_salt(salt, name), encode_deployment(name, args)))
        gas = await rpc.gas(outbox.address, factory, init, what=f"constructor of {name}", name=name)
        receipt, block = await outbox.send(factory, init, min(gas * 5 // 4, MAX_GAS))
        if name != "Coin":
            first = first or block
        if not receipt.ok:
            raise DeployFailed(f"{name}: expected it at {address_text(places[name])}, its creation failed")
        on_made(name, places[name], True)

    at = await rpc.head("latest")
    # A deployment that goes on may have been changed by its council since: what began is checked in a new one alone.
    expected = fixed(deployment) | ({} if stood else begun(deployment))
    return await _verified(rpc, deployment, first or at, at, expected)


async def make_factory(rpc: Rpc, key: bytes) -> Address:
    """A factory of its own address, for chains without the proxy. Deployments by it have other addresses there."""
    outbox = Outbox(rpc, key, await rpc.chain_id())
    gas = await rpc.gas(outbox.address, None, contract("Factory").bytecode, what="constructor of Factory")
    receipt, _ = await outbox.send(None, contract("Factory").bytecode, min(gas * 5 // 4, MAX_GAS))
    if not receipt.ok or receipt.contract is None:
        raise DeployFailed("Factory: expected a contract, its creation failed")
    return receipt.contract


def arguments(name: ContractName, d: Deployment) -> Sequence[object]:
    """What the constructor of a contract is given."""
    g = d.genesis
    system = (d.members, d.ledger, d.access, d.meter, d.council, d.timelock, d.token)
    members = (g.attesters, g.attester_threshold, g.admissions_per_day, g.detach_delay, g.recovery_delay, system)
    given: dict[ContractName, Sequence[object]] = {
        "Coin": (*COIN, d.deployer, COIN_SUPPLY),
        "Ledger": (g.appraisers, g.appraiser_threshold, g.classes, g.max_classes, g.grace_period, system),
        "Members": members,
        "Access": (g.window_seconds, g.horizon, g.settle_delay, system),
        "Meter": (system,),
        "Timelock": (g.timelock_delay, d.council),
        "Council": (g.voting_delay, g.voting_period, g.quorum_bps, system),
        "Factory": (),
    }
    return given[name]


def factory_address() -> Address:
    """Where the proxy makes the factory. Source: EIP-1014."""
    made_of = b"\xff" + PROXY + ZERO32 + keccak256(contract("Factory").bytecode)
    return Address(keccak256(made_of)[12:])


async def _factory(rpc: Rpc, outbox: Outbox, given: Address | None, on_made: OnMade) -> Address:
    """A factory with our code stands at the address returned."""
    at = await rpc.head("latest")
    address = factory_address() if given is None else given
    stands = bool(await rpc.code(address, at))
    if not stands and given is None:
        if not await rpc.code(PROXY, at):
            raise NoProxy(
                f"node {rpc.host}: expected the deterministic deployment proxy at {address_text(PROXY)}, got no code; "
                "`commonhold deployment factory` makes a factory without it, for `commonhold deploy --factory`"
            )
        init = ZERO32 + contract("Factory").bytecode
        gas = await rpc.gas(outbox.address, PROXY, init, what="creation of the factory")
        await outbox.send(PROXY, init, min(gas * 5 // 4, MAX_GAS))
        at = await rpc.head("latest")
    if defect := code.defect("Factory", await rpc.code(address, at), ()):
        raise DeployFailed(f"factory {address_text(address)}: {defect}")
    on_made("Factory", address, not stands)
    return address


async def _first_with(rpc: Rpc, address: Address, at: BlockStamp) -> BlockStamp:
    """The block in which a contract that stands at `at` was made. Asks for old state: by halves."""
    low, high = 0, int(at.number)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if await rpc.code(address, await rpc.header(middle)) else (middle + 1, high)
    return await rpc.header(low)


async def _verified(
    rpc: Rpc,
    deployment: Deployment,
    first: BlockStamp,
    at: BlockStamp,
    expected: Mapping[tuple[ContractName, str], object],
) -> Deployment:
    """The deployment, complete: its code is the build's, and what can never change is what was meant."""
    found = {name: await rpc.code(deployment.address_of(name), at) for name in MADE}
    for name, runtime in found.items():
        if defect := code.defect(name, runtime, code.words(name, deployment)):
            raise DeployFailed(f"new deployment: {defect}")
    for (name, function), value in expected.items():
        got = await rpc.call(name, deployment.address_of(name), function, at=at)
        if got != value:
            raise DeployFailed(f"{name}.{function} of the new deployment: expected {value!r}, got {got!r}")
    return Deployment(
        **{field: getattr(deployment, field) for field in Deployment.__slots__}
        | {"block": first.number, "block_hash": first.hash, "code": {n: keccak256(c) for n, c in found.items()}}
    )


def fixed(d: Deployment) -> dict[tuple[ContractName, str], object]:
    """What each contract answers for ever, by contract and function."""
    g = d.genesis
    return {
        ("Members", "ledger"): d.ledger,
        ("Members", "access"): d.access,
        ("Members", "timelock"): d.timelock,
        ("Members", "detachDelay"): g.detach_delay,
        ("Members", "recoveryDelay"): g.recovery_delay,
        ("Ledger", "members"): d.members,
        ("Ledger", "access"): d.access,
        ("Ledger", "meter"): d.meter,
        ("Ledger", "token"): d.token,
        ("Ledger", "timelock"): d.timelock,
        ("Ledger", "maxClasses"): g.max_classes,
        ("Ledger", "gracePeriod"): g.grace_period,
        ("Access", "members"): d.members,
        ("Access", "ledger"): d.ledger,
        ("Access", "meter"): d.meter,
        ("Access", "token"): d.token,
        ("Access", "windowSeconds"): g.window_seconds,
        ("Access", "horizon"): g.horizon,
        ("Access", "settleDelay"): g.settle_delay,
        ("Meter", "members"): d.members,
        ("Meter", "ledger"): d.ledger,
        ("Meter", "access"): d.access,
        ("Council", "members"): d.members,
        ("Council", "timelock"): d.timelock,
        ("Council", "votingDelay"): g.voting_delay,
        ("Council", "votingPeriod"): g.voting_period,
        ("Council", "quorumBps"): g.quorum_bps,
        ("Timelock", "getMinDelay"): g.timelock_delay,
    }


def begun(d: Deployment) -> dict[tuple[ContractName, str], object]:
    """What each contract answers until the council changes it."""
    g = d.genesis
    return {
        ("Members", "attesters"): tuple(g.attesters),
        ("Members", "threshold"): g.attester_threshold,
        ("Members", "admissionsPerDay"): g.admissions_per_day,
        ("Ledger", "appraisers"): tuple(g.appraisers),
        ("Ledger", "threshold"): g.appraiser_threshold,
        ("Ledger", "classIds"): tuple(class_id(params.name) for params in g.classes),
    }


def _salt(salt: Hash32, name: ContractName) -> Hash32:
    return keccak256(salt + name.encode())
