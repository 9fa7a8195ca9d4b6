"""The service's HTTP application. It is made, not imported: everything it works with is in its AppState."""

from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from commonhold.api import problems
from commonhold.api.deps import AppState, LimitedBodies
from commonhold.api.pages import routes
from commonhold.api.routers import (
    assets,
    changes,
    classes,
    council,
    credits,
    digest,
    epochs,
    holdings,
    hours,
    leases,
    members,
    metrics,
    oauth,
    receipts,
    revenue,
    segments,
    status,
    token,
)
from commonhold.api.schemas import OAuthFailure, Problem

__all__ = ["AppState", "create_app"]

ROUTERS = (
    status,
    digest,
    metrics,
    members,
    classes,
    assets,
    holdings,
    credits,
    revenue,
    leases,
    changes,
    council,
    token,
    oauth,
    segments,
    receipts,
    hours,
    epochs,
)

_TAGS = [
    {"name": "service", "description": "Where the service stands."},
    {"name": "ownership", "description": "Members, classes, assets and who owns them, as the chain says."},
    {"name": "use", "description": "Offers, credits and leases."},
    {"name": "oauth", "description": "Access tokens for leases: OAuth 2 with DPoP."},
    {"name": "council", "description": "What the groups may change, and how they vote."},
    {"name": "metering", "description": "Segments, receipts and epochs."},
]


def create_app(state: AppState) -> FastAPI:
    """The application of one service."""
    app = FastAPI(
        title="Commonhold",
        version=version("commonhold"),
        summary="A compute ownership ledger and a tokenized access service",
        description=(
            "Everything read here follows from contracts on a chain and from signatures; the header "
            "`Commonhold-Block` names the block that an answer is true at, by number and hash, and "
            "`Commonhold-Finalized` the newest final block: what happened above it may still be reorganised. Refusals "
            "are problem details (RFC 9457), on the OAuth endpoints OAuth's own JSON."
        ),
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        openapi_tags=_TAGS,
        generate_unique_id_function=_operation_id,
        docs_url=None,  # FastAPI's pages run scripts of a third party; /openapi.json is the document
        redoc_url=None,
    )
    app.state.commonhold = state
    problems.install(app)
    app.add_middleware(LimitedBodies)
    for module in ROUTERS:
        app.include_router(module.router)
    app.include_router(routes.router)
    _describe_refusals(app)
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name


def _describe_refusals(app: FastAPI) -> None:
    """The OpenAPI document names the shape of every refusal, and not FastAPI's own, which is never sent."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        license_info=app.license_info,
        tags=app.openapi_tags,
        routes=app.routes,
    )
    schemas = document["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for model in (Problem, OAuthFailure):
        schemas[model.__name__] = model.model_json_schema(ref_template="#/components/schemas/{model}")
    for path, methods in document["paths"].items():
        oauth_path = path in problems.OAUTH_PATHS
        media, shape = ("application/json", OAuthFailure) if oauth_path else ("application/problem+json", Problem)
        content = {media: {"schema": {"$ref": f"#/components/schemas/{shape.__name__}"}}}
        for operation in methods.values():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = {"description": "A refusal: why, with its numbers", "content": content}
    return document
