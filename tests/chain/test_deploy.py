"""A deployment is what was meant or fails, and leaves its deployer with no power at all."""

import json
from dataclasses import replace
from typing import Any

import pytest

from commonhold.chain.contract import CONTRACTS, Parameter, contract
from commonhold.chain.deploy import DeployFailed, Genesis, created, deploy, roles
from commonhold.chain.deployment import FOLLOWED, ContractName
from commonhold.chain.outbox import Outbox
from commonhold.chain.revert import ContractRefused
from commonhold.chain.rpc import Rpc
from commonhold.units import Address, address_text
from tests.actors import ROOT, Deployed, address_of, genesis, key_of
from tests.chain.lying import Forward, Twist, changed, lying

pytestmark = pytest.mark.chain


async def test_a_second_deployment_takes_the_token_of_the_first(deployed: Deployed) -> None:
    token = deployed.deployment.token

    second = await deploy(deployed.rpc, key_of("stranger"), replace(genesis(), token=token))

    await deployed.rpc.check(second)
    assert (second.token, second.deployer) == (token, address_of("stranger"))
    assert not set(second.followed) & set(deployed.deployment.followed)
    assert second.block == (await deployed.rpc.head()).number - 3


@pytest.mark.parametrize("nonce", [0, 1, 127, 128, 255, 256, 65_536, 2**32])
async def test_the_address_of_a_contract_follows_from_sender_and_nonce(deployed: Deployed, nonce: int) -> None:
    maker = address_of("maker")
    await deployed.fund("maker")
    await deployed.anvil.request("anvil_setNonce", address_text(maker), hex(nonce))
    outbox = Outbox(deployed.rpc, key_of("maker"), deployed.deployment.chain_id)

    receipt, _ = await outbox.send(None, b"\x00", 100_000)  # code that stops at once

    assert receipt.contract == created(maker, nonce)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"attester_threshold": 4}, {"error": "BadThreshold", "threshold": 4, "signers": 3}),
        ({"appraisers": (address_of("appraiser0"),) * 3}, {"error": "BadSigner"}),
        ({"window_seconds": 0}, {"error": "BadWindows", "window_seconds": 0}),
        ({"classes": (replace(genesis().classes[0], hold_bps=10_001),)}, {"error": "BadClass"}),
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


async def test_a_nonce_taken_in_between_ends_the_deployment(deployed: Deployed) -> None:
    stranger = address_text(address_of("stranger"))
    sent = 0

    async def twist(request: dict[str, Any], forward: Forward) -> Any:
        nonlocal sent
        if request["method"] == "eth_sendRawTransaction":
            sent += 1
            if sent == 3:  # Coin, Members, now Ledger
                await deployed.anvil.request("anvil_impersonateAccount", stranger)
                await deployed.anvil.request("eth_sendTransaction", {"from": stranger, "to": stranger})
        return await forward()

    with pytest.raises(DeployFailed, match=rf"Ledger: nonce 2 of {stranger} was not to be had: .*nonce too low"):
        await deployed_through(deployed, twist, genesis())


async def test_contracts_that_say_other_than_what_was_meant_fail_the_deployment(deployed: Deployed) -> None:
    # Every view answers 2, which is right for the thresholds, and wrong for the first address that is looked up.
    twist = changed("eth_call", lambda _: "0x" + (2).to_bytes(32).hex())

    with pytest.raises(DeployFailed, match=r"Members\.ledger of the new deployment: expected .*, got "):
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

    for name in CONTRACTS:
        for function in contract(name).functions:
            assert not any(word in function.lower() for word in privileged), f"{name}.{function}"
