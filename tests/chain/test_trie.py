import pytest
import rlp
from hypothesis import given
from hypothesis import strategies as st

from commonhold.chain.trie import EMPTY_ROOT, list_root, rlp_bytes, rlp_list, rlp_number
from commonhold.units import keccak256


@given(st.binary(max_size=70) | st.binary(min_size=200, max_size=300))
def test_bytes_are_encoded_as_the_library_does(value: bytes) -> None:
    assert rlp_bytes(value) == rlp.encode(value)


@given(st.integers(0, 2**256))
def test_numbers_are_encoded_as_the_library_does(value: int) -> None:
    assert rlp_number(value) == rlp.encode(value)


@given(st.lists(st.binary(max_size=40), max_size=12))
def test_lists_are_encoded_as_the_library_does(values: list[bytes]) -> None:
    assert rlp_list(b"".join(map(rlp_bytes, values))) == rlp.encode(values)


def test_root_of_nothing_is_the_one_of_empty_blocks() -> None:
    assert list_root([]) == EMPTY_ROOT
    assert EMPTY_ROOT.hex() == "56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421"


def test_root_of_one_is_the_hash_of_its_leaf() -> None:
    # Key 0 is RLP 0x80: nibbles 8, 0; an even leaf.
    assert list_root([b"value"]) == keccak256(rlp.encode([b"\x20\x80", b"value"]))


@pytest.mark.parametrize("count", [2, 3, 17, 127, 128, 129, 300])
def test_every_value_and_its_place_decide_the_root(count: int) -> None:
    values = [b"receipt %d, of more than thirty-two bytes" % number for number in range(count)]
    other = [*values[:-2], values[-1], values[-2]]

    roots = {list_root(values), list_root(values[:-1]), list_root(other), list_root([*values[:-1], b"forged"])}

    assert len(roots) == 4
