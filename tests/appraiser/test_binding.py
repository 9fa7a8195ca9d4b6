"""The binding nonce and device commitments, byte for byte; the vectors were made with coreutils' sha256sum."""

from collections.abc import Callable, Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commonhold.appraiser.binding import binding_nonce, device_commitment, gpu_nonce

# The points 1G and 2G of P-256, uncompressed.
METER_KEY = bytes.fromhex(
    "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
)
OTHER_KEY = bytes.fromhex(
    "047cf27b188d034f7e8a52380304b51ac3c08969e277f21b35a60b48fc47669978"
    "07775510db8ed040293d9ac69f7430dbba7dade63ce982299e04b79d227873d1"
)
CHALLENGES = (b"\x11" * 32, b"\x22" * 32)
PROVIDER, LEDGER, CHAIN_ID = b"\xa1" * 20, b"\xb2" * 20, 31337
BINDING = bytes.fromhex("3bf256f6447491e675ecd8f07ecad7efb5c7b8e6a892320680fafa77dc8cb1a4")


def bind(
    challenges: Sequence[bytes] = CHALLENGES,
    provider: bytes = PROVIDER,
    chain_id: int = CHAIN_ID,
    ledger: bytes = LEDGER,
    meter_key: bytes = METER_KEY,
) -> bytes:
    return binding_nonce(challenges, provider=provider, chain_id=chain_id, ledger=ledger, meter_key=meter_key)


def test_bytes_of_binding_gpu_nonce_and_device_commitment() -> None:
    assert bind() == BINDING
    assert gpu_nonce(BINDING).hex() == "b167f8b01e68d2f5e481de78537ffa3506074213e80bee4608c57fe582683ebc"
    assert device_commitment(b"\x11" * 32).hex() == "ea18e022b7500f8405d3ab094892a894a9b29b3d8d665bd2044675f054335fb9"


def test_order_of_challenges_does_not_matter() -> None:
    assert bind(tuple(reversed(CHALLENGES))) == BINDING


def test_every_input_is_bound() -> None:
    others = {
        bind(challenges=(*CHALLENGES, b"\x33" * 32)),
        bind(challenges=CHALLENGES[:1]),
        bind(provider=LEDGER),
        bind(ledger=PROVIDER),
        bind(provider=LEDGER, ledger=PROVIDER),
        bind(chain_id=1),
        bind(meter_key=OTHER_KEY),
    }

    assert len(others) == 7
    assert BINDING not in others


WRONG: dict[str, Callable[[], bytes]] = {
    "no_challenge": lambda: bind(challenges=()),
    "challenge_twice": lambda: bind(challenges=(CHALLENGES[0], CHALLENGES[0])),
    "challenge_of_31_bytes": lambda: bind(challenges=(b"\x11" * 31,)),
    "challenge_of_64_bytes": lambda: bind(challenges=(b"\x11" * 64,)),
    "provider_of_19_bytes": lambda: bind(provider=bytes(19)),
    "ledger_of_21_bytes": lambda: bind(ledger=bytes(21)),
    "chain_id_zero": lambda: bind(chain_id=0),
    "chain_id_of_33_bytes": lambda: bind(chain_id=1 << 256),
    "meter_key_of_64_bytes": lambda: bind(meter_key=METER_KEY[:-1]),
    "meter_key_compressed": lambda: bind(meter_key=b"\x02" + METER_KEY[1:]),
    "meter_key_off_the_curve": lambda: bind(meter_key=METER_KEY[:-1] + b"\xf4"),
    "binding_of_31_bytes": lambda: gpu_nonce(bytes(31)),
    "device_key_of_33_bytes": lambda: device_commitment(bytes(33)),
}


@pytest.mark.parametrize("defect", WRONG)
def test_wrong_input_is_refused(defect: str) -> None:
    with pytest.raises(ValueError, match=r"expected"):
        WRONG[defect]()


@settings(max_examples=50)
@given(
    st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=6, unique=True),
    st.randoms(use_true_random=False),
)
def test_any_order_of_any_challenges_gives_one_nonce(challenges: list[bytes], random: Random) -> None:
    shuffled = list(challenges)
    random.shuffle(shuffled)

    assert bind(shuffled) == bind(challenges)
