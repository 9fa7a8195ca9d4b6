"""Every event that the contracts can tell, as they really tell it, and the logs that must stop a mirror."""

from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import pytest

from commonhold import signing
from commonhold.chain import events, governing
from commonhold.chain.contract import contract
from commonhold.chain.decode import UnknownEvent, decode
from commonhold.chain.deployment import FOLLOWED
from commonhold.chain.events import ChainEvent
from commonhold.chain.stamp import RawLog
from commonhold.signing import ZERO32
from commonhold.units import UNIT, Address, Hash32, Units, class_id, keccak256
from tests.actors import APPRAISERS, ATTESTERS, CLASSES, COMPUTE, DATA, YEAR_S, Deployed, address_of, point_of

pytestmark = pytest.mark.chain

ZERO = Address(bytes(20))


async def told(deployed: Deployed, first: int) -> list[ChainEvent]:
    """All events since block `first`, decoded from the logs."""
    head = (await deployed.rpc.head()).number
    logs = await deployed.rpc.logs(deployed.deployment.followed, first, head)
    return [decode(log, deployed.deployment) for log in logs]


async def test_every_event_of_the_abis_has_a_class_and_every_class_an_event() -> None:
    in_abis = {entry.name for name in FOLLOWED for entry in contract(name).events.values()}

    assert in_abis == {kind.__name__ for kind in get_args(ChainEvent)}


async def test_the_deployment_tells_its_classes(deployed: Deployed) -> None:
    found = await told(deployed, deployed.deployment.block)

    assert [event for event in found if isinstance(event, events.ClassCreated)] == [
        events.ClassCreated(class_id(c.name), c.name, c.kind, c.unit, c.hold_bps, c.use_bps, c.min_level, c.floor_units)  # type: ignore[arg-type]
        for c in CLASSES
    ]


async def test_the_deployment_tells_its_quorums_and_the_roles_of_its_timelock(deployed: Deployed) -> None:
    found = await told(deployed, deployed.deployment.block)

    signers = {(event.contract, event.signer) for event in found if isinstance(event, governing.SignerAdded)}
    assert signers == {("Members", address_of(role)) for role in ATTESTERS} | {
        ("Ledger", address_of(role)) for role in APPRAISERS
    }
    values = [event for event in found if isinstance(event, governing.SettingChanged)]
    assert sorted((event.contract, event.name.rstrip(b"\0"), event.value) for event in values) == [
        ("Ledger", b"threshold", 2),
        ("Members", b"admissionsPerDay", 100),
        ("Members", b"threshold", 2),
    ]
    d = deployed.deployment
    granted = {event.account for event in found if isinstance(event, governing.RoleGranted)}
    assert granted == {d.council, d.timelock, ZERO}


async def test_members_tell_admission_renewal_and_both_ways_into_a_group(deployed: Deployed) -> None:
    first = (await deployed.rpc.head()).number + 1
    owner, affiliate, stranger = (address_of(role) for role in ("owner", "affiliate", "stranger"))
    now = await deployed.now()
    until = now + YEAR_S

    await deployed.admit("owner", "affiliate", "stranger", until=until)
    renewal = signing.Renewal(owner, until + 1, now + 600)
    await deployed.send("relayer", "Members", "renew", renewal, deployed.quorum(ATTESTERS[1:], renewal))
    await deployed.attach("affiliate", "owner")
    finding = signing.Finding(stranger, owner, keccak256(b"what they saw"), now + 600)
    await deployed.send("relayer", "Members", "find", finding, deployed.quorum(ATTESTERS[:2], finding))

    found = await told(deployed, first)
    admitted = [event for event in found if isinstance(event, events.Admitted)]
    assert [(event.member, event.until) for event in admitted] == [
        (owner, until),
        (affiliate, until),
        (stranger, until),
    ]
    assert admitted[0].nullifier == keccak256(b"person owner")
    assert admitted[0].since >= now
    assert found[3:] == [
        events.Renewed(owner, admitted[0].since, until + 1),
        events.Attached(affiliate, owner, affiliate, owner, ZERO32),
        events.Attached(stranger, owner, stranger, owner, keccak256(b"what they saw")),
    ]


async def test_the_ledger_tells_assets_and_every_movement_of_units(deployed: Deployed) -> None:
    await deployed.admit("provider", "owner")
    first = (await deployed.rpc.head()).number + 1
    ledger = deployed.deployment.ledger
    provider, owner, stranger = (address_of(role) for role in ("provider", "owner", "stranger"))

    appraisal = await deployed.appraisal("provider", 40 * UNIT, name="node")
    asset = await deployed.register(appraisal, "provider", split={"provider": 40 * UNIT}, uri="http://127.0.0.1:9/é")
    again = replace(appraisal, expires_at=appraisal.expires_at + 1, level=4, policy="nvidia-2026")
    await deployed.send("stranger", "Ledger", "renew", asset, again, deployed.quorum(APPRAISERS[1:], again))
    await deployed.send("provider", "Ledger", "approve", stranger, asset, 5 * UNIT)
    await deployed.send("stranger", "Ledger", "transferFrom", provider, owner, asset, 2 * UNIT)
    await deployed.send("provider", "Ledger", "setOperator", stranger, True)

    keys = appraisal.meter_key_x, appraisal.meter_key_y
    assert keys[0] + keys[1] == point_of("node")
    assert sorted(await told(deployed, first), key=repr) == sorted(
        (
            events.Registered(
                asset, class_id(COMPUTE), provider, Units(40 * UNIT), 3, "development", appraisal.content_hash,
                appraisal.result_hash, appraisal.devices, *keys, appraisal.expires_at, "http://127.0.0.1:9/é",
            ),
            events.CommonsPriced(asset, 0),
            # Of 100 GPUs (the class's floor) one group may hold 30: the others go to the commons.
            events.Transfer("Ledger", provider, ZERO, provider, asset, 30 * UNIT),
            events.Transfer("Ledger", provider, ZERO, ledger, asset, 10 * UNIT),
            events.AppraisalRenewed(
                asset, 4, "nvidia-2026", again.content_hash, again.result_hash, *keys, again.expires_at
            ),
            events.Approval("Ledger", provider, stranger, asset, 5 * UNIT),
            events.Transfer("Ledger", stranger, provider, owner, asset, 2 * UNIT),
            events.OperatorSet("Ledger", provider, stranger, True),
        ),
        key=repr,
    )  # fmt: skip


async def test_access_and_meter_tell_the_way_of_a_credit(deployed: Deployed) -> None:
    await deployed.admit("provider", "buyer")
    asset = await deployed.register_compute()
    first = (await deployed.rpc.head()).number + 1
    d, window = deployed.deployment, await deployed.window()
    provider, buyer, relayer = (address_of(role) for role in ("provider", "buyer", "relayer"))

    credit = await deployed.open(asset, price=7, tranche=3)
    await deployed.pay("buyer", 7 * 100)
    await deployed.send("buyer", "Access", "buy", credit, 100, 7)
    lease = await deployed.redeem("buyer", credit, 60)
    await deployed.anvil.advance(30)
    await deployed.send("stranger", "Meter", "settle", [deployed.signed_receipt(lease, 20_000, session="buyer")])
    await deployed.send("provider", "Access", "setOperator", relayer, True)
    await deployed.send("buyer", "Access", "approve", relayer, credit, 1)

    found = await told(deployed, first)
    redeemed = next(event for event in found if isinstance(event, events.Redeemed))
    point = point_of("buyer")
    assert found == [
        events.Opened(credit, asset, window, 3, 7),
        *either(
            found, events.Transfer("Access", buyer, ZERO, buyer, credit, 100), events.Bought(credit, buyer, 100, 700)
        ),
        *either(
            found,
            events.Transfer("Access", relayer, buyer, ZERO, credit, 60),
            events.Redeemed(lease, buyer, credit, 60, redeemed.starts_at, 3, Hash32(point[:32]), Hash32(point[32:])),
        ),
        *either(
            found,
            events.Accrued(asset, 140),
            events.Settled(lease, class_id(COMPUTE), buyer, window, 3, 20_000, 20_000, 140, keccak256(b"head")),
        ),
        events.OperatorSet("Access", provider, relayer, True),
        events.Approval("Access", buyer, relayer, credit, 1),
    ]
    assert d.contract_at(d.access) == "Access"


def either(found: Sequence[ChainEvent], *pair: ChainEvent) -> list[ChainEvent]:
    """The events of one transaction, in the order found: which comes first is the contract's affair."""
    return sorted(pair, key=lambda event: found.index(event) if event in found else len(found))


async def test_an_anchor_tells_its_link_to_the_one_before(deployed: Deployed) -> None:
    root = keccak256(b"root")

    one = await deployed.send("submitter", "Meter", "anchor", 0, root, 3, 5_000, "http://127.0.0.1:9/0")
    two = await deployed.send("submitter", "Meter", "anchor", 1, root, 1, 7, "")

    first, second = one.events[0], two.events[0]
    assert first == events.Anchored(address_of("submitter"), 0, root, ZERO32, 3, 5_000, "http://127.0.0.1:9/0")
    assert isinstance(second, events.Anchored)
    at = await deployed.rpc.head()
    packed = b"".join((ZERO32, (0).to_bytes(32), root, (3).to_bytes(32), (5_000).to_bytes(32)))
    assert second.previous == keccak256(packed)
    assert await deployed.rpc.call("Meter", deployed.deployment.meter, "nextEpoch", address_of("submitter"), at=at) == 2


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("é and 語", "é and 語"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"a\0b", "a\ufffdb"),
        (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),  # half of a surrogate pair
    ],
)
async def test_text_that_no_database_takes_does_not_stop_the_mirror(
    deployed: Deployed, sent: str | bytes, read: str
) -> None:
    """Any account may anchor, with any bytes as URI."""
    meter, bad = deployed.deployment.meter, sent if isinstance(sent, bytes) else sent.encode()
    call = contract("Meter").functions["anchor"].hash[:4] + b"".join(
        (bytes(32), keccak256(b"root"), (1).to_bytes(32), (1).to_bytes(32), (160).to_bytes(32), len(bad).to_bytes(32))
    )
    transaction = {
        "from": "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",  # anvil's first account, which anvil signs for
        "to": "0x" + meter.hex(),
        "data": "0x" + (call + bad.ljust(32, b"\0")).hex(),
    }
    mined = await deployed.anvil.send(transaction)

    (event,) = await told(deployed, int(mined["blockNumber"], 16))

    assert isinstance(event, events.Anchored)
    assert event.uri == read


# --- logs that are not understood ---


@pytest.fixture
async def log(deployed: Deployed) -> RawLog:
    """A log of a registration: all kinds of values, three of them indexed."""
    await deployed.admit("provider")
    await deployed.register_data(name="texts", of_class=DATA)
    head = (await deployed.rpc.head()).number
    logs = await deployed.rpc.logs([deployed.deployment.ledger], head, head)
    return next(log for log in logs if isinstance(decode(log, deployed.deployment), events.Registered))


async def test_an_unknown_topic_is_named_with_its_contract_and_place(deployed: Deployed, log: RawLog) -> None:
    strange = replace(log, topics=(keccak256(b"Seized(address)"), *log.topics[1:]))

    with pytest.raises(UnknownEvent) as failed:
        decode(strange, deployed.deployment)

    place = f"log {log.log_index} of block {log.block_number} (0x{log.block_hash.hex()})"
    for part in (place, " of Ledger ", keccak256(b"Seized(address)").hex()):
        assert part in str(failed.value)


async def test_an_event_of_another_of_our_contracts_is_unknown_in_this_one(deployed: Deployed, log: RawLog) -> None:
    with pytest.raises(UnknownEvent, match="of Meter has topic"):
        decode(replace(log, address=deployed.deployment.meter), deployed.deployment)


async def test_a_log_without_topics_is_unknown(deployed: Deployed, log: RawLog) -> None:
    with pytest.raises(UnknownEvent, match="has topic none"):
        decode(replace(log, topics=()), deployed.deployment)


@pytest.mark.parametrize("whose", ["token", "deployer"])
async def test_a_log_of_another_contract_is_refused(deployed: Deployed, log: RawLog, whose: str) -> None:
    with pytest.raises(UnknownEvent, match="expected one that is followed"):
        decode(replace(log, address=getattr(deployed.deployment, whose)), deployed.deployment)


async def test_a_log_with_a_topic_too_few_or_too_many_is_refused(deployed: Deployed, log: RawLog) -> None:
    for topics in (log.topics[:-1], (*log.topics, ZERO32)):
        with pytest.raises(UnknownEvent, match=rf"Ledger\.Registered, has {len(topics)} topics, expected 4"):
            decode(replace(log, topics=topics), deployed.deployment)


async def test_data_cut_off_anywhere_is_refused(deployed: Deployed, log: RawLog) -> None:
    for length in range(0, len(log.data), 16):
        with pytest.raises(UnknownEvent, match=r"Ledger\.Registered: data: \d+ bytes do not decode"):
            decode(replace(log, data=log.data[:length]), deployed.deployment)


async def test_a_value_too_large_for_its_type_is_refused(deployed: Deployed, log: RawLog) -> None:
    too_large = b"\x01" + log.data[1:]  # units: uint64

    with pytest.raises(UnknownEvent, match="do not decode"):
        decode(replace(log, data=too_large), deployed.deployment)
    with pytest.raises(UnknownEvent, match="topics: 96 bytes do not decode"):
        decode(replace(log, topics=(*log.topics[:3], Hash32(b"\x01" * 32))), deployed.deployment)
