"""The issuer's keys: fetched seldom, again when they may have changed, and kept while the issuer is away."""

from collections.abc import AsyncIterator

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from commonhold.access.token import TokenInvalid, mint
from commonhold.gateway.keyset import FRESH_S, REFETCH_S, STALE_S, IssuerKeys, IssuerUnreachable
from tests.gateway.peers import Issuer, serving, signing_key

SESSION = ec.generate_private_key(ec.SECP256R1())


class Moving:
    """A clock that the test moves."""

    now_s = 1_000_000

    def __call__(self) -> int:
        return self.now_s


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, timeout=2) as client:
        yield client


async def verified(keys: IssuerKeys, issuer: Issuer, clock: Moving) -> str:
    at = clock.now_s
    claims = issuer.claims(SESSION, issued_at=at, expires_at=at + 60, ends_at=at + 60)
    return (await keys.verify(mint(issuer.key, claims), audience="", now_s=at)).jti


async def test_rotated_key_is_fetched_when_a_token_names_it_but_not_at_every_such_token(
    http: httpx.AsyncClient,
) -> None:
    issuer, clock = Issuer(), Moving()
    async with serving(issuer) as issuer.url:
        keys = IssuerKeys(http, issuer.url, clock)
        await verified(keys, issuer, clock)
        issuer.published.append(issuer.key)
        issuer.key = signing_key("k2")

        with pytest.raises(TokenInvalid):
            await verified(keys, issuer, clock)
        clock.now_s += REFETCH_S
        assert await verified(keys, issuer, clock)


async def test_withdrawn_key_serves_no_longer_than_a_token_lives(http: httpx.AsyncClient) -> None:
    issuer, clock = Issuer(), Moving()
    async with serving(issuer) as issuer.url:
        keys = IssuerKeys(http, issuer.url, clock)
        withdrawn = issuer.key
        assert await verified(keys, issuer, clock)
        issuer.key = signing_key("k2")
        clock.now_s += FRESH_S
        await verified(keys, issuer, clock)
        issuer.key = withdrawn
        issuer.published.clear()

        with pytest.raises(TokenInvalid):
            await verified(keys, issuer, clock)


async def test_old_keys_serve_while_the_issuer_is_away_but_not_for_ever(http: httpx.AsyncClient) -> None:
    issuer, clock = Issuer(), Moving()
    async with serving(issuer) as issuer.url:
        keys = IssuerKeys(http, issuer.url, clock)
        await verified(keys, issuer, clock)

    clock.now_s += STALE_S - 1
    assert await verified(keys, issuer, clock)
    clock.now_s += 1
    for _ in range(2):
        with pytest.raises(IssuerUnreachable):
            await verified(keys, issuer, clock)


async def test_metadata_of_another_issuer_is_refused(http: httpx.AsyncClient) -> None:
    issuer = Issuer(url="https://other.example")
    async with serving(issuer) as url:
        with pytest.raises(IssuerUnreachable, match="expected"):
            await IssuerKeys(http, url, Moving()).verify("", audience="", now_s=0)
