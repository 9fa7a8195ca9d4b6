"""The errors that people and programs meet. One class per case, near its use; only the root and what all stages share
stand here. Every error carries an HTTP status and a stable code, and its text says what, which, expected and got.
"""

from collections.abc import Mapping


class CommonholdError(Exception):
    """Anything that Commonhold refuses or cannot do. `details` are machine-readable facts (the numbers of a limit)."""

    status = 500
    code = "internal_error"

    def __init__(self, message: str, *, details: Mapping[str, str | int | bool | None] | None = None) -> None:
        super().__init__(message)
        self.details: dict[str, str | int | bool | None] = dict(details or {})


class BadInput(CommonholdError):
    """The caller's input does not parse."""

    status = 400
    code = "bad_input"


class NotFound(CommonholdError):
    """There is no such thing."""

    status = 404
    code = "not_found"


class LimitExceeded(CommonholdError):
    """A holding or use limit refuses it; `details` has the numbers."""

    status = 409
    code = "limit_exceeded"


class Refused(CommonholdError):
    """A rule other than a limit refuses it."""

    status = 409
    code = "refused"


class Unavailable(CommonholdError):
    """Something this depends on does not answer or is not fresh; trying again later is right."""

    status = 503
    code = "unavailable"
