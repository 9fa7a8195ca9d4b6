"""Tokens are what was granted, and nothing else: any claims round-trip, any change of a byte is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.jwk import ECKey, KeySet

from commonhold.access import token
from commonhold.access.dpop import thumbprint
from commonhold.access.token import MAX_SKEW_S, AccessClaims
from commonhold.units import Address, AssetId, GpuMs, Hash32
from tests.actors import p256_of, point_of

ISSUER, GATEWAY = "https://commonhold.example", "https://gpu1.example/"
KEY = ECKey.import_key(p256_of("issuer"), {"kid": thumbprint(point_of("issuer"))})
KEYS = KeySet([KEY])

texts = st.text(max_size=40)
numbers = st.integers(0, 2**63 - 1)
granted = st.builds(
    AccessClaims,
    issuer=st.just(ISSUER),
    audience=st.just(GATEWAY),
    chain_id=numbers,
    holder=st.binary(min_size=20, max_size=20).map(Address),
    client_id=texts,
    issued_at=st.just(1_000),
    expires_at=st.integers(1_001, 1_300),
    jti=texts,
    scope=texts,
    jkt=texts,
    lease=st.binary(min_size=32, max_size=32).map(Hash32),
    asset=st.integers(0, 2**192 - 1).map(AssetId),
    class_name=texts,
    limit_gpu_ms=numbers.map(GpuMs),
    level=st.integers(0, 5),
    policy=texts,
    ends_at=numbers,
)


def verify(text: str, now_s: int = 1_000) -> AccessClaims:
    return token.verify(text, KEYS, issuer=ISSUER, audience=GATEWAY, now_s=now_s)


@settings(max_examples=40, deadline=None)
@given(granted)
def test_what_is_minted_is_what_is_verified(claims: AccessClaims) -> None:
    text = token.mint(KEY, claims)

    assert verify(text) == verify(text, claims.expires_at - 1) == verify(text, 1_000 - MAX_SKEW_S) == claims
    with pytest.raises(token.TokenInvalid):
        verify(text, claims.expires_at)


@settings(max_examples=40, deadline=None)
@given(granted, st.data())
def test_no_byte_can_be_changed(claims: AccessClaims, data: st.DataObject) -> None:
    text = token.mint(KEY, claims)
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from("ABCxyz019-_.=").filter(lambda c: c != text[at]))

    with pytest.raises(token.TokenInvalid):
        verify(text[:at] + other + text[at + 1 :])


def test_an_unknown_key_is_told_apart_so_that_the_set_is_fetched_again() -> None:
    other = ECKey.import_key(p256_of("other"), {"kid": "other"})
    claims = _some()

    with pytest.raises(token.UnknownKey):
        verify(token.mint(other, claims))
    with pytest.raises(token.TokenInvalid) as refused:
        verify(token.mint(ECKey.import_key(p256_of("other"), {"kid": str(KEY.kid)}), claims))
    assert not isinstance(refused.value, token.UnknownKey)


def _some() -> AccessClaims:
    return AccessClaims(
        issuer=ISSUER,
        audience=GATEWAY,
        chain_id=1,
        holder=Address(b"\x01" * 20),
        client_id="c",
        issued_at=1_000,
        expires_at=1_300,
        jti="j",
        scope="inference",
        jkt="k",
        lease=Hash32(b"\x02" * 32),
        asset=AssetId(1),
        class_name="compute/h100-sxm",
        limit_gpu_ms=GpuMs(1),
        level=3,
        policy="nvidia",
        ends_at=2_000,
    )
