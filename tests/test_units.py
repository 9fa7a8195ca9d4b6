"""Text forms of numbers and addresses: what is written is read back, and nothing else is taken."""

from decimal import ROUND_FLOOR, Decimal

import pytest
from eth_utils.address import to_checksum_address
from hypothesis import example, given
from hypothesis import strategies as st

from commonhold.errors import BadInput
from commonhold.units import (
    MAX_TOTAL,
    UNIT,
    address_text,
    credit_id,
    credit_parts,
    gpu_hours_text,
    hex_text,
    keccak256,
    to_address,
    to_hash32,
    to_units,
    units_text,
)

amounts = st.integers(0, MAX_TOTAL)
addresses = st.binary(min_size=20, max_size=20)


@given(amounts)
@example(0)
@example(MAX_TOTAL)
def test_units_written_are_read_back(units: int) -> None:
    assert to_units(units_text(units)) == units


@given(st.integers(-MAX_TOTAL, MAX_TOTAL))
@example(-1)
def test_units_text_is_the_exact_decimal(units: int) -> None:
    assert Decimal(units_text(units)) == Decimal(units) / UNIT


@given(st.decimals(0, 10**12, places=6))
def test_any_decimal_with_six_places_is_taken_without_loss(amount: Decimal) -> None:
    assert to_units(f"{amount:f}") == amount * UNIT
    assert to_units(f" {amount.normalize():f}\n") == amount * UNIT


@given(st.text() | st.from_regex(r"-?\d*\.?\d*([eE]\d+)?", fullmatch=True))
@example("1.0000000")
@example("1.")
@example(".5")
@example("1e3")
@example("-1")
@example("1_000")
@example("١")  # a digit, but not one of ours
@example("9223372036854.775808")  # 2^63
def test_units_of_any_text_are_its_number_or_refused(text: str) -> None:
    try:
        units = to_units(text)
    except BadInput:
        return

    assert text.strip().isascii()
    assert 0 <= units <= MAX_TOTAL
    assert Decimal(units) / UNIT == Decimal(text.strip())


@given(st.integers(0, 10**15))
@example(3_600_000)
@example(3_599_999)
def test_gpu_hours_are_rounded_down(gpu_ms: int) -> None:
    exact = Decimal(gpu_ms) / 3_600_000

    assert Decimal(gpu_hours_text(gpu_ms)) == exact.quantize(Decimal("0.000001"), ROUND_FLOOR)


@given(addresses)
def test_addresses_written_are_read_back_in_every_case_and_carry_the_standard_checksum(address: bytes) -> None:
    text = address_text(address)

    assert text == to_checksum_address(address)
    for form in (text, text.lower(), "0x" + text[2:].upper()):
        assert to_address(form) == address


@given(addresses, st.integers(2, 41))
def test_an_address_with_a_letter_in_the_wrong_case_is_refused(address: bytes, at: int) -> None:
    text = address_text(address)
    wrong = text[:at] + text[at].swapcase() + text[at + 1 :]

    if wrong == text or wrong[2:] in (wrong[2:].lower(), wrong[2:].upper()):
        assert to_address(wrong) == address  # a digit has no case, and one case throughout carries no checksum
        return
    with pytest.raises(BadInput, match="EIP-55 checksum does not match"):
        to_address(wrong)


@pytest.mark.parametrize(
    "text", ["", "0x", "0x" + "1" * 39, "0x" + "1" * 41, "1" * 40, "0X" + "1" * 40, "0x" + "g" * 40]
)
def test_text_that_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="expected 0x and 40 hexadecimal digits"):
        to_address(text)


@given(st.binary(min_size=32, max_size=32))
def test_hashes_written_are_read_back(value: bytes) -> None:
    assert to_hash32(hex_text(value)) == value
    with pytest.raises(BadInput, match="expected 0x and 64 hexadecimal digits"):
        to_hash32(hex_text(value) + "0")


@given(st.integers(0, 2**192 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_a_credit_id_has_its_parts(asset: int, window: int, tranche: int) -> None:
    credit = credit_id(asset, window, tranche)

    assert credit_parts(credit) == (asset, window, tranche)
    assert credit < 2**256


@pytest.mark.parametrize("parts", [(-1, 0, 0), (2**192, 0, 0), (0, -1, 0), (0, 2**32, 0), (0, 0, 2**32), (0, 0, -1)])
def test_parts_that_would_spill_into_each_other_are_refused(parts: tuple[int, int, int]) -> None:
    with pytest.raises(BadInput, match="do not fit 192, 32 and 32 bits"):
        credit_id(*parts)


def test_the_hash_is_the_evms_and_not_nists() -> None:
    assert keccak256(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
