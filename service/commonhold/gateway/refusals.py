"""Every "no" of the gateway, as it is sent: problem details (RFC 9457) and, for 401, one challenge (RFC 9449)."""

from collections.abc import Mapping

from commonhold.errors import CommonholdError
from commonhold.gateway.asgi import Headers, Send, answer_json

PROBLEM = b"application/problem+json"


class TokenMissing(CommonholdError):
    """The request has no access token, or more than one."""

    status = 401
    code = "token_missing"


class BearerRefused(CommonholdError):
    """The token is bound to a key: it must be sent as DPoP with a proof, never as Bearer."""

    status = 401
    code = "invalid_token"


class ProofReplayed(CommonholdError):
    """The proof was used before."""

    status = 401
    code = "invalid_dpop_proof"


class ProofOfOtherKey(CommonholdError):
    """The proof is by another key than the token is bound to."""

    status = 401
    code = "invalid_dpop_proof"


class NotThisNode(CommonholdError):
    """The token is genuine, but for another asset or chain."""

    status = 403
    code = "not_this_node"


class LeaseEnded(CommonholdError):
    """The window of the lease is over."""

    status = 403
    code = "lease_ended"


class BudgetSpent(CommonholdError):
    """All time that the token allows is used: renew it with a receipt."""

    status = 402
    code = "budget_spent"


class GpusBusy(CommonholdError):
    """Another lease has the GPUs and kept them for too long to wait."""

    status = 503
    code = "gpus_busy"


class BadTarget(CommonholdError):
    """Method or path that this gateway does not forward."""

    status = 400
    code = "bad_target"


class UpstreamDown(CommonholdError):
    """The upstream does not answer, or not in HTTP."""

    status = 502
    code = "upstream_down"


async def refuse(send: Send, error: CommonholdError, *, metadata_url: str, headers: Headers = ()) -> None:
    """Answers with the error. `metadata_url` tells a client without a token where to learn how to get one."""
    status = 401 if error.code in _CHALLENGED else error.status
    more = list(headers)
    if status == 401:
        more.append((b"www-authenticate", _challenge(error, metadata_url).encode()))
    if status == 503:
        more.append((b"retry-after", b"5"))
    # The error's own text goes last: details never replace a member that RFC 9457 defines.
    problem: Mapping[str, object] = {
        **error.details,
        "type": f"urn:commonhold:problem:{error.code}",
        "title": _title(error),
        "status": status,
        "detail": str(error),
        "code": error.code,
    }
    await answer_json(send, status, problem, more, kind=PROBLEM)


_CHALLENGED = frozenset({"token_missing", "invalid_token", "invalid_dpop_proof", "use_dpop_nonce"})


def _challenge(error: CommonholdError, metadata_url: str) -> str:
    parts = [f'resource_metadata="{metadata_url}"', 'algs="ES256"']
    if error.code != "token_missing":  # RFC 6750, 3.1: no error code where no authentication was tried
        said = str(error).replace("\\", "").replace('"', "'").encode("ascii", "replace").decode()
        parts = [f'error="{error.code}"', f'error_description="{said}"', *parts]
    return "DPoP " + ", ".join(parts)


def _title(error: CommonholdError) -> str:
    return (type(error).__doc__ or error.code).strip().splitlines()[0]
