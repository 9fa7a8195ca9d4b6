"""What can go wrong for a client, one class per case. Each text says who said no, and what was said."""

from collections.abc import Mapping

from commonhold.errors import CommonholdError, Unavailable


class Unreachable(Unavailable):
    """Service or gateway does not answer, or not as agreed."""

    code = "unreachable"


class ServiceRefused(CommonholdError):
    """The service said no: `status` and `code` are its own."""

    def __init__(self, status: int, code: str, message: str, details: Mapping[str, str | int | bool | None]) -> None:
        super().__init__(message, details=details)
        self.status, self.code = status, code


class GatewayRefused(ServiceRefused):
    """The gateway said no, not the upstream behind it: `status` and `code` are the gateway's own."""


class BudgetSpent(GatewayRefused):
    """All time that the token allows is used, and there is no more to be had."""


class AnswerCut(CommonholdError):
    """The gateway ended the answer before its end: budget or window ran out, or the upstream broke off."""

    status = 502
    code = "answer_cut"

    def __init__(self, message: str, limit_gpu_ms: int) -> None:
        """limit_gpu_ms: of the token that the answer was given for."""
        super().__init__(message, details={"limit_gpu_ms": limit_gpu_ms})
        self.limit_gpu_ms = limit_gpu_ms


class TokenNotOurs(CommonholdError):
    """The service issued a token that is not for what was asked: it is not used."""

    status = 502
    code = "token_not_ours"


class ReceiptDisputed(CommonholdError):
    """The node claims more time than this client saw itself use, or signed something else: it is not countersigned."""

    status = 409
    code = "receipt_disputed"
