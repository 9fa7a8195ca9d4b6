"""The OAuth endpoints beside /token: what clients and gateways discover, and what becomes of a token."""

import secrets
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from commonhold.access import revoke, siwe
from commonhold.access.ask import MAX_BODY_BYTES, SCOPES, TOKEN_EXCHANGE, OAuthError, one, parse_form
from commonhold.access.keys import CACHE_S
from commonhold.access.token import GRANT_TYPE
from commonhold.api.deps import AtBlock, Read, State, Write, limited_body
from commonhold.api.schemas import NonceOut
from commonhold.mirror import read

router = APIRouter(tags=["oauth"])

_TOKEN_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "application/x-www-form-urlencoded": {
                "schema": {
                    "type": "object",
                    "required": ["token"],
                    "properties": {"token": {"type": "string"}, "token_type_hint": {"type": "string"}},
                }
            }
        },
    }
}


@router.get("/.well-known/oauth-authorization-server")
async def authorization_server(state: State, db: Read) -> dict[str, Any]:
    """What this authorization server can do, RFC 8414."""
    issuer = state.issuer
    return {
        "issuer": issuer,
        "token_endpoint": f"{issuer}/token",
        "jwks_uri": f"{issuer}/jwks.json",
        "introspection_endpoint": f"{issuer}/introspect",
        "introspection_endpoint_auth_methods_supported": ["none"],
        "revocation_endpoint": f"{issuer}/revoke",
        "revocation_endpoint_auth_methods_supported": ["none"],
        "nonce_endpoint": f"{issuer}/nonce",
        "grant_types_supported": [TOKEN_EXCHANGE],
        "response_types_supported": ["none"],  # one client library refuses an empty list
        "token_endpoint_auth_methods_supported": ["none"],
        "dpop_signing_alg_values_supported": ["ES256"],
        "authorization_details_types_supported": [GRANT_TYPE],
        "scopes_supported": list(SCOPES),
        "protected_resources": await read.gateways(db),
        "service_documentation": f"{issuer}/openapi.json",
    }


# The alias is where one client library looks by default.
router.add_api_route(
    "/.well-known/openid-configuration", authorization_server, name="openid_configuration", methods=["GET"]
)


@router.get("/jwks.json")
async def jwks(state: State, response: Response) -> dict[str, Any]:
    """The keys that sign access tokens, RFC 7517. A new key is here long before it signs."""
    response.headers["Cache-Control"] = f"public, max-age={CACHE_S}"
    return state.signing_keys.jwks()


@router.post("/nonce", response_model=NonceOut)
async def nonce(state: State, response: Response) -> dict[str, Any]:
    """A nonce for one sign-in message, and one for DPoP proofs in the DPoP-Nonce header."""
    now_s = state.clock()
    response.headers["Cache-Control"] = "no-store"
    response.headers["DPoP-Nonce"] = state.nonce_keys.issue(now_s)
    c_nonce = siwe.make_nonce(state.nonce_keys, now_s, secrets.token_bytes(12))
    return {"c_nonce": c_nonce, "expires_in": siwe.NONCE_TTL_S}


async def _token(request: Request) -> str:
    body = await limited_body(request, MAX_BODY_BYTES)
    text = one(parse_form(request.headers.get("content-type", ""), body), "token")
    if text is None:
        raise OAuthError("parameter 'token' is missing")
    return text


Token = Annotated[str, Depends(_token)]  # before the transaction, as deps.WholeBody


@router.post("/introspect", openapi_extra=_TOKEN_FORM)
async def introspect(text: Token, response: Response, state: State, db: Read, _at: AtBlock) -> dict[str, Any]:
    """Whether a token is good now, RFC 7662. Whoever has the token may ask: it says no more than the token does."""
    response.headers["Cache-Control"] = "no-store"
    keys = state.signing_keys.verifying()
    return await revoke.introspect(db, text, keys=keys, issuer=state.issuer, now_s=state.clock())


@router.post("/revoke", openapi_extra=_TOKEN_FORM, status_code=200)
async def revoke_token(text: Token, state: State, db: Write) -> Response:
    """Ends a token before its time, RFC 7009. An unknown, ended or revoked one is a success, too."""
    keys = state.signing_keys.verifying()
    await revoke.revoke(db, text, keys=keys, issuer=state.issuer, now_s=state.clock())
    return Response(headers={"Cache-Control": "no-store"})
