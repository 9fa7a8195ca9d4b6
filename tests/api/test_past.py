"""Answers for earlier blocks, and the digest that operators compare."""

from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from commonhold.access import saying
from commonhold.cli.digest import DigestsDiffer, compare
from commonhold.db import read, write
from commonhold.mirror.read import position
from commonhold.mirror.tables import digest as sums
from commonhold.units import address_text, class_id, hex_text
from tests.actors import COMPUTE, address_of
from tests.api.conftest import sqlite_only
from tests.api.service import Service, running
from tests.conftest import Databases

pytestmark = pytest.mark.chain


async def test_owners_of_earlier_blocks_are_those_of_then(service: Service) -> None:
    asset, _ = await service.deployed.lease(600)
    await service.mirrored()
    before = (await service.http.get(f"/v1/assets/{asset}/owners")).json()
    async with read(service.state.engine) as db:
        then = (await position(db)).number
    provider, other = address_of("provider"), address_of("another owner")
    await service.deployed.admit("another owner")
    await service.deployed.send("provider", "Ledger", "transfer", other, asset, 1_000_000)
    await service.mirrored()

    now = await service.http.get(f"/v1/assets/{asset}/owners")
    past = await service.http.get(f"/v1/assets/{asset}/owners", params={"at": then})

    assert past.json() == before != now.json()
    assert past.headers["commonhold-at"] == str(then)
    assert past.headers["commonhold-block"] == now.headers["commonhold-block"]
    assert address_text(other) in {row["owner"] for row in now.json()}
    member = f"/v1/members/{address_text(other)}"
    assert (await service.http.get(member)).status_code == 200
    assert (await service.http.get(member, params={"at": then})).status_code == 404
    first = service.deployed.deployment.block
    for at in (first - 1, 10**9, 2**80):
        answer = await service.http.get(f"/v1/assets/{asset}/owners", params={"at": at})
        assert (answer.status_code, answer.json()["code"], answer.json()["first"]) == (404, "block_not_mirrored", first)
    assert (await service.http.get("/v1/holdings", params={"at": first})).json() == []
    mine = await service.http.get("/v1/holdings", params={"owner": address_text(provider), "at": then})
    assert [row["units"] for row in mine.json()] == ["8.000000"]
    groups = f"/v1/classes/{hex_text(class_id(COMPUTE))}/groups"
    assert (await service.http.get(groups, params={"at": then})).json() == [
        {"root": address_text(provider), "units": "8.000000"}
    ]
    assert len((await service.http.get(groups)).json()) == 2


async def test_digest_is_signed_and_compared(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    await service.deployed.admit("member")
    await service.mirrored()
    shown = (await service.http.get("/digest")).json()
    keys = KeySet.import_key_set((await service.http.get("/jwks.json")).json())

    said = saying.verify(shown["jws"], keys)

    assert shown["digest"] == hex_text(said.digest) == (await service.http.get("/status")).json()["digest"]
    assert (said.block, hex_text(said.block_hash or b"")) == (shown["block"], shown["block_hash"])
    assert said.deployment == service.state.deployment.fingerprint()
    url = str(service.http.base_url)
    await compare([url, url], None, as_json=False)
    assert "(2 services agree)" in capsys.readouterr().out
    with pytest.raises(saying.SayingInvalid):
        saying.verify(shown["jws"][:-8] + "AAAAAAAA", keys)
    key = service.state.signing_keys.signing(service.clock())
    with pytest.raises(saying.SayingInvalid, match=r"has type 'at\+jwt'"):
        saying.verify(jwt.encode({"alg": "ES256", "typ": "at+jwt", "kid": key.kid}, {}, key), keys)


@sqlite_only
async def test_services_that_differ_are_named(service: Service, databases: Databases, tmp_path: Path) -> None:
    async with running(await databases(), service.deployed, tmp_path / "other") as other:
        await other.mirrored()
        async with write(other.state.engine) as db:
            await db.execute(sums.update().values(sum=bytes(2048)))
        urls = [str(one.http.base_url) for one in (service, other)]
        [number] = {(await one.http.get("/digest")).json()["block"] for one in (service, other)}

        with pytest.raises(DigestsDiffer, match=f"digests of block {number} differ: .*; {urls[1]} says 0x"):
            await compare(urls, number, as_json=False)
