"""The fast way to decode gives what the ABI library gives, and refuses what that refuses."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonhold.chain.contract import CONTRACTS, Entry, contract
from commonhold.chain.decode import UnknownEvent, by_abi, decode_of, makers
from commonhold.chain.deployment import ContractName
from commonhold.chain.events import ChainEvent
from commonhold.chain.stamp import RawLog
from commonhold.units import Address, BlockNumber, Hash32

FAST: list[tuple[ContractName, Entry]] = [
    (name, entry)
    for name in CONTRACTS
    if name != "Coin"
    for topic, entry in contract(name).events.items()
    if topic in makers(name)
]


def log_of(entry: Entry, words: list[bytes], more: bytes = b"") -> RawLog:
    indexed = sum(parameter.indexed for parameter in entry.inputs)
    return RawLog(
        address=Address(bytes(20)),
        topics=(entry.hash, *(Hash32(word) for word in words[:indexed])),
        data=b"".join(words[indexed:]) + more,
        block_number=BlockNumber(1),
        block_hash=Hash32(bytes(32)),
        transaction_hash=Hash32(bytes(32)),
        log_index=0,
    )


def test_what_is_frequent_is_fast() -> None:
    fast = {entry.name for _, entry in FAST}

    assert {"Transfer", "Bought", "Redeemed", "Accrued", "Settled", "Admitted", "Opened", "Attached"} <= fast
    assert not fast & {"Registered", "Anchored", "ClassCreated"}


@given(st.data())
def test_both_ways_decode_alike(data: st.DataObject) -> None:
    name, entry = data.draw(st.sampled_from(FAST))
    fits = data.draw(st.booleans())
    words = []
    for parameter in sorted(entry.inputs, key=lambda parameter: not parameter.indexed):
        size = (
            20
            if parameter.kind == "address"
            else 32
            if not parameter.kind.startswith("uint")
            else int(parameter.kind[4:]) // 8
        )
        used = size if fits else 32
        words.append(data.draw(st.binary(min_size=used, max_size=used)).rjust(32, b"\0"))
    log = log_of(entry, words, data.draw(st.binary(max_size=40)))

    assert said(decode_of, name, log) == said(by_abi, name, log)


def said(way: Callable[[ContractName, RawLog], ChainEvent], name: ContractName, log: RawLog) -> ChainEvent | str:
    """What this way makes of the log, or why it refuses it."""
    try:
        return way(name, log)
    except UnknownEvent as error:
        return str(error)


@pytest.mark.parametrize(("name", "entry"), FAST, ids=lambda value: getattr(value, "name", value))
def test_a_log_that_is_cut_is_refused(name: ContractName, entry: Entry) -> None:
    words = [bytes(32)] * len(entry.inputs)
    whole = log_of(entry, words)
    short = RawLog(
        whole.address, whole.topics[:-1], whole.data, *(BlockNumber(1), Hash32(bytes(32)), Hash32(bytes(32)), 0)
    )

    decode_of(name, whole)

    with pytest.raises(UnknownEvent):
        decode_of(name, short)
