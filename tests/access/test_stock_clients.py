"""Stock OAuth, JOSE and wallet libraries, unchanged, against the service over a socket: a script each in tests/stock/.

They run by the machine's clock, so the service does here, too.
"""

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine

from commonhold.access.keys import PUBLISH_AHEAD_S, SigningKeys
from commonhold.units import address_text, hex_text
from tests.actors import ROOT, Deployed, address_of, key_of
from tests.api.conftest import sqlite_only
from tests.api.service import QUANTUM_MS, Service, running

STOCK = ROOT / "tests" / "stock"
NODE = shutil.which("node")
GATEWAY = "http://127.0.0.1:9/"

pytestmark = [
    pytest.mark.chain,
    pytest.mark.skipif(not (STOCK / "node_modules").is_dir(), reason="tests/stock/node_modules is missing: make setup"),
]


@pytest_asyncio.fixture
async def service(engine: AsyncEngine, deployed: Deployed, tmp_path: Path) -> AsyncIterator[Service]:
    """A service by the machine's clock, its mirror following."""

    def clock() -> int:
        return int(time.time())

    keys = SigningKeys.open(tmp_path / "current", now_s=clock() - PUBLISH_AHEAD_S)
    async with running(engine, deployed, tmp_path, clock=clock, signing_keys=keys) as service:
        await service.mirrored()
        service.follow()
        yield service


async def node(script: str, ask: dict[str, Any]) -> dict[str, Any]:
    """What the script answers."""
    assert NODE is not None, "node is not installed, tests/stock/node_modules is"
    pipe = asyncio.subprocess.PIPE
    started = await asyncio.create_subprocess_exec(NODE, STOCK / script, stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        answer, errors = await asyncio.wait_for(started.communicate(json.dumps(ask).encode()), timeout=60)
    finally:
        if started.returncode is None:
            started.kill()
    assert started.returncode == 0, errors.decode()
    return json.loads(answer)  # type: ignore[no-any-return]


@sqlite_only
@pytest.mark.parametrize("script", ["openid_client.mjs", "oauth4webapi.mjs"])
async def test_a_stock_client_redeems_signs_in_and_revokes(service: Service, script: str) -> None:
    deployed = service.deployed
    await deployed.admit("provider", "developer")
    credit = await deployed.open(await deployed.register_compute(uri=GATEWAY))
    await deployed.grant(credit, "developer", 600)
    ask = {
        "issuer": service.state.issuer,
        "client_id": "stock",
        "wallet": hex_text(key_of("developer")),
        "chain_id": deployed.deployment.chain_id,
        "credit": str(credit),
        "seconds": 600,
        "deadline": await deployed.now() + 600,  # the chain's clock, which may be ahead of the machine's
        "resource": GATEWAY,
    }

    got = await node(script, ask)
    token = got["signed_in"]["access_token"]
    by_jose = await node("verify_with_jose.mjs", ask | {"token": token, "jwk": got["jwk"]})

    # The first answer asks for a nonce, the client sends it; then both exchanges succeed and a replay does not.
    assert got["told"] == ["use_dpop_nonce", "token", "token", "invalid_grant"]
    assert got["refused"] == {"name": "ResponseBodyError", "error": "invalid_grant", "status": 400}
    for granted in got["redeemed"], got["signed_in"]:
        assert granted["token_type"] == "dpop"
        assert granted["issued_token_type"] == "urn:ietf:params:oauth:token-type:access_token"
        assert granted["scope"] == "inference"
        assert granted["authorization_details"][0]["lease"] == got["lease"]
        assert granted["authorization_details"][0]["limit_gpu_ms"] == QUANTUM_MS
    assert 0 < got["expires_in"] <= 300
    # Introspection before and after revocation.
    assert got["before"]["active"] is True
    assert got["before"]["cnf"]["jkt"] == by_jose["thumbprint"]
    assert got["after"] == {"active": False}
    # The token, by jose, and by the client's resource server where it has one.
    claims = by_jose["claims"]
    assert by_jose["header"]["typ"] == "at+jwt"
    assert (claims["iss"], claims["aud"], claims["client_id"]) == (service.state.issuer, GATEWAY, "stock")
    assert claims["sub"] == f"eip155:{ask['chain_id']}:{address_text(address_of('developer'))}"
    assert claims["cnf"] == {"jkt": by_jose["thumbprint"]}
    assert claims["authorization_details"] == got["signed_in"]["authorization_details"]
    assert got.get("claims", claims) == claims
    assert by_jose["refused"] == {
        "audience": ["ERR_JWT_CLAIM_VALIDATION_FAILED", "aud"],
        "issuer": ["ERR_JWT_CLAIM_VALIDATION_FAILED", "iss"],
        "type": ["ERR_JWT_CLAIM_VALIDATION_FAILED", "typ"],
        "forged": ["ERR_JWS_SIGNATURE_VERIFICATION_FAILED", None],
        "expired": ["ERR_JWT_EXPIRED", "exp"],
    }
