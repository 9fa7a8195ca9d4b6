"""A deployment is what was meant or fails, and leaves its deployer with no power at all."""

import json
from dataclasses import replace
from typing import Any

import pytest

from commonhold.chain.contract import CONTRACTS, Parameter, contract, encode_call
from commonhold.chain.deploy import (
    ORDER,
    PROXY,
    DeployFailed,
    Genesis,
    NoProxy,
    deploy,
    factory_address,
    make_factory,
)
from commonhold.chain.deployment import FOLLOWED, ContractName
from commonhold.chain.jsonrpc import RpcUnavailable
from commonhold.chain.node import start_anvil
from commonhold.chain.powers import prove, roles
from commonhold.chain.revert import ContractRefused
from commonhold.chain.rpc import Rpc
from commonhold.units import Address, address_text, keccak256
from tests.actors import ANVIL, ROOT, Deployed, address_of, genesis, key_of
from tests.chain.lying import Forward, Twist, changed, lying

pytestmark = pytest.mark.chain


async def test_a_second_deployment_takes_the_token_of_the_first(deployed: Deployed) -> None:
    token = deployed.deployment.token

    second = await deploy(deployed.rpc, key_of("stranger"), replace(genesis(), token=token))

    await deployed.rpc.check(second)
    assert (second.token, second.deployer) == (token, address_of("stranger"))
    assert not set(second.followed) & set(deployed.deployment.followed)
    assert second.factory == deployed.deployment.factory
    assert second.block == (await deployed.rpc.head()).number - 5


async def test_a_finished_deployment_run_again_changes_nothing(deployed: Deployed) -> None:
    before = await deployed.rpc.head()

    again = await deploy(deployed.rpc, key_of("deployer"), genesis())

    assert again == deployed.deployment
    assert await deployed.rpc.head() == before


@pytest.mark.parametrize("sent", range(1, 7))
async def test_a_deployment_that_failed_goes_on_where_it_stopped(deployed: Deployed, sent: int) -> None:
    told = 0

    async def twist(request: dict[str, Any], forward: Forward) -> Any:
        nonlocal told
        if request["method"] == "eth_sendRawTransaction":
            told += 1
            if told > sent:
                return 503, b"no more"
        return await forward()

    salt = keccak256(b"another one")
    with pytest.raises(RpcUnavailable):
        async with lying(deployed.anvil.url, twist) as url, Rpc(url) as rpc:
            await deploy(rpc, key_of("stranger"), genesis(), salt=salt)
    made: dict[ContractName, bool] = {}

    whole = await deploy(
        deployed.rpc, key_of("stranger"), genesis(), salt=salt, on_made=lambda name, _, now: made.update({name: now})
    )

    assert [name for name in ORDER if not made[name]] == list(ORDER[:sent])
    assert all(power.ok for power in await prove(deployed.rpc, whole, await deployed.rpc.head()))


async def test_the_addresses_are_the_same_on_another_chain_and_other_ones_with_another_salt(deployed: Deployed) -> None:
    async with start_anvil(ANVIL, chain_id=5) as other, Rpc(other.url) as rpc:
        await other.fund(address_text(address_of("deployer")), 10**20)
        there = await deploy(rpc, key_of("deployer"), replace(genesis(), admissions_per_day=7))

    assert there.followed == deployed.deployment.followed
    salted = await deploy(deployed.rpc, key_of("deployer"), genesis(), salt=keccak256(b"salt"))
    assert not set(salted.followed) & set(there.followed)


async def test_a_chain_without_the_proxy_says_so_and_takes_a_factory_made_without_it(deployed: Deployed) -> None:
    for address in (PROXY, factory_address()):
        await deployed.anvil.request("anvil_setCode", address_text(address), "0x")

    with pytest.raises(NoProxy, match=r"deterministic deployment proxy at 0x4e59.*commonhold deployment factory"):
        await deploy(deployed.rpc, key_of("stranger"), genesis())
    factory = await make_factory(deployed.rpc, key_of("stranger"))
    made = await deploy(deployed.rpc, key_of("stranger"), genesis(), factory=factory)

    assert made.factory == factory
    assert all(power.ok for power in await prove(deployed.rpc, made, await deployed.rpc.head()))


async def test_a_factory_with_other_code_is_not_used(deployed: Deployed) -> None:
    with pytest.raises(DeployFailed, match=r"factory 0x.*: Factory: \d+ bytes of code, the build has \d+"):
        await deploy(deployed.rpc, key_of("stranger"), genesis(), factory=deployed.deployment.meter)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"attester_threshold": 4}, {"error": "BadThreshold", "threshold": 4, "signers": 3}),
        ({"appraisers": (address_of("appraiser0"),) * 3}, {"error": "BadSigner"}),
        ({"window_seconds": 0}, {"error": "BadWindows", "window_seconds": 0}),
        ({"classes": (replace(genesis().classes[0], hold_bps=5_001),)}, {"error": "OutOfBounds", "value": 5_001}),
        ({"detach_delay": 1}, {"error": "BadDelay", "delay": 1}),
        ({"settle_delay": 1}, {"error": "BadSettleDelay"}),
        ({"timelock_delay": 1}, {"error": "BadDelay"}),
        ({"quorum_bps": 0}, {"error": "BadRules", "quorum_bps": 0}),
    ],
)
async def test_a_genesis_that_a_contract_refuses_says_why(
    deployed: Deployed, change: dict[str, Any], error: dict[str, Any]
) -> None:
    with pytest.raises(ContractRefused, match=r"constructor of \w+ is refused by the chain") as refused:
        await deploy(deployed.rpc, key_of("stranger"), replace(genesis(), **change))

    assert refused.value.details.items() >= error.items()


async def deployed_through(deployed: Deployed, twist: Twist, meant: Genesis) -> None:
    async with lying(deployed.anvil.url, twist) as url, Rpc(url) as rpc:
        await deploy(rpc, key_of("stranger"), meant)


async def test_contracts_that_say_other_than_what_was_meant_fail_the_deployment(deployed: Deployed) -> None:
    selector = encode_call("Members", "detachDelay", ())

    async def twist(request: dict[str, Any], forward: Forward) -> Any:
        asked = request["method"] == "eth_call" and request["params"][0]["data"] == f"0x{selector.hex()}"
        answer = await forward()
        return answer | {"result": "0x" + (2).to_bytes(32).hex()} if asked else answer

    with pytest.raises(DeployFailed, match=r"Members\.detachDelay of the new deployment: expected 86400, got 2"):
        await deployed_through(deployed, twist, genesis())


async def test_code_that_is_not_the_builds_fails_the_deployment(deployed: Deployed) -> None:
    twist = changed("eth_getCode", lambda code: code if len(code) < 2_300 else code[:-2] + "00")

    with pytest.raises(DeployFailed, match=r"new deployment: Members: code differs from the build's at byte \d+"):
        await deployed_through(deployed, twist, genesis())


# --- what accounts may do ---


async def test_the_deployer_holds_no_role(deployed: Deployed) -> None:
    head = await deployed.rpc.head()

    assert await roles(deployed.rpc, deployed.deployment, address_of("deployer"), head) == []


async def test_roles_are_found_where_there_are_some(deployed: Deployed) -> None:
    await deployed.admit("provider", "owner")
    asset = await deployed.register_compute()
    await deployed.send("owner", "Ledger", "setOperator", address_of("provider"), True)
    await deployed.send("owner", "Access", "setOperator", address_of("provider"), True)
    await deployed.send("owner", "Access", "setOperator", address_of("provider"), False)
    head, d = await deployed.rpc.head(), deployed.deployment

    owner = address_text(address_of("owner"))
    trusted = f"ERC-6909 operator of {owner} in Ledger"
    assert await roles(deployed.rpc, d, address_of("provider"), head) == [
        "member",
        f"operator of asset {asset}",
        trusted,
    ]
    assert await roles(deployed.rpc, d, address_of("attester1"), head) == ["attester"]
    assert await roles(deployed.rpc, d, address_of("appraiser2"), head) == ["appraiser"]


async def test_the_deployer_can_do_nothing_that_a_stranger_cannot(deployed: Deployed) -> None:
    """Every function that changes state, with arguments that name the caller wherever an address goes."""
    at = await deployed.rpc.head()

    for name in FOLLOWED:
        for function in writing(name):
            outcomes = [
                await outcome(deployed, name, function, address_of(who), at) for who in ("deployer", "stranger")
            ]
            assert outcomes[0] == outcomes[1], f"{name}.{function}"


async def outcome(deployed: Deployed, name: ContractName, function: str, caller: Address, at: Any) -> str:
    arguments = [blank(parameter, caller) for parameter in contract(name).functions[function].inputs]
    try:
        await deployed.rpc.call(name, deployed.deployment.address_of(name), function, *arguments, at=at, sender=caller)
    except ContractRefused as refused:
        return refused.error
    return "allowed"


def writing(name: ContractName) -> list[str]:
    """The functions of a contract that change state."""
    path = ROOT / "service" / "commonhold" / "chain" / "abi" / f"{name}.json"
    entries = json.loads(path.read_text(encoding="utf-8"))["abi"]
    return [e["name"] for e in entries if e["type"] == "function" and e["stateMutability"] not in ("view", "pure")]


def blank(parameter: Parameter, caller: Address) -> object:
    """An argument of the parameter's type: nothing, or the caller."""
    if parameter.kind.endswith("]"):
        return ()
    if parameter.components:
        return tuple(blank(component, caller) for component in parameter.components)
    if parameter.kind == "address":
        return caller
    if parameter.kind == "bool":
        return False
    if parameter.kind == "string":
        return ""
    return b"" if parameter.kind == "bytes" else bytes(32) if parameter.kind == "bytes32" else 0


def test_there_is_no_function_of_an_owner() -> None:
    privileged = ("own", "admin", "role", "pause", "upgrade", "implementation", "freeze", "seize", "force", "mint")
    # Those of the timelock revert with Fixed, for everybody.
    fixed = {"getRoleAdmin", "grantRole", "hasRole", "renounceRole", "revokeRole"}
    fixed |= {"CANCELLER_ROLE", "DEFAULT_ADMIN_ROLE", "EXECUTOR_ROLE", "PROPOSER_ROLE"}

    for name in CONTRACTS:
        for function in contract(name).functions:
            if name != "Timelock" or function not in fixed:
                assert not any(word in function.lower() for word in privileged), f"{name}.{function}"
