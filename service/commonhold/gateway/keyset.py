"""The issuer's verification keys, fetched over HTTP and kept: with them every token is verified offline."""

import asyncio
from collections.abc import Callable

import httpx
import orjson
from joserfc.jwk import KeySet

from commonhold.access.token import AccessClaims, TokenInvalid, UnknownKey, key_set, verify
from commonhold.errors import Unavailable

FRESH_S = 300  # the longest life of a token: a key that was withdrawn serves no longer than the last token it signed
STALE_S = 3_600  # how long old keys serve while the issuer does not answer
REFETCH_S = 10  # an unknown key is no reason to ask more often than this


class IssuerUnreachable(Unavailable):
    """The issuer's keys cannot be fetched."""

    code = "issuer_unreachable"


class IssuerKeys:
    """Keys of one issuer. `clock_s` gives Unix seconds."""

    def __init__(self, http: httpx.AsyncClient, issuer: str, clock_s: Callable[[], int]) -> None:
        self._http, self._issuer, self._clock_s = http, issuer, clock_s
        self._keys: KeySet | None = None
        self._fetched_at = 0
        self._tried_at = 0
        self._fetching = asyncio.Lock()

    async def verify(self, token: str, *, audience: str, now_s: int) -> AccessClaims:
        """The claims of a genuine token for `audience`. Raises TokenInvalid, IssuerUnreachable."""
        keys = await self._current()
        try:
            return verify(token, keys, issuer=self._issuer, audience=audience, now_s=now_s)
        except UnknownKey:
            newer = await self._refetched()
            return verify(token, newer, issuer=self._issuer, audience=audience, now_s=now_s)

    async def _current(self) -> KeySet:
        if self._keys is None:
            return await self._refetched()
        age_s = self._clock_s() - self._fetched_at
        if age_s < FRESH_S:
            return self._keys
        try:
            keys = await self._refetched()
        except IssuerUnreachable:
            if age_s >= STALE_S:
                raise
            return self._keys
        if self._clock_s() - self._fetched_at >= STALE_S:
            raise IssuerUnreachable(f"issuer {self._issuer} has not answered for {age_s} s")
        return keys

    async def _refetched(self) -> KeySet:
        async with self._fetching:  # many requests, one fetch
            now_s = self._clock_s()
            if self._keys is not None and now_s < self._tried_at + REFETCH_S:
                return self._keys
            self._tried_at = now_s
            self._keys = await fetch_keys(self._http, self._issuer)
            self._fetched_at = now_s
            return self._keys


async def fetch_keys(http: httpx.AsyncClient, issuer: str) -> KeySet:
    """The key set that the issuer's metadata names. Raises IssuerUnreachable."""
    metadata_url = f"{issuer.rstrip('/')}/.well-known/oauth-authorization-server"
    try:
        metadata = orjson.loads((await http.get(metadata_url)).raise_for_status().content)
        if metadata["issuer"] != issuer:  # RFC 8414, 3.3
            raise IssuerUnreachable(f"metadata at {metadata_url} is of {metadata['issuer']!r}, expected {issuer!r}")
        document = (await http.get(str(metadata["jwks_uri"]))).raise_for_status().content
        return key_set(document)
    except (httpx.HTTPError, httpx.InvalidURL, orjson.JSONDecodeError, KeyError, TypeError, TokenInvalid) as e:
        raise IssuerUnreachable(f"keys of issuer {issuer}: {type(e).__name__}") from e
