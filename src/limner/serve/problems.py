"""What a client is told when something cannot be done: the same for every dialect, each of which words it in its way.

A line of ours may be shown where a request was at fault. Where we are, there is a number, and the log has the rest.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from limner.core import InputError
from limner.serve.catalogue import UnknownModelError
from limner.serve.faults import Closed, Full, Spent, Unavailable
from limner.serve.ledger import Reused
from limner.serve.orders import Job, State

SOON, RESTART = 1, 10  # seconds after which to try again
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem(Exception):  # noqa: N818
    """`kind` and `code` are the words of OpenAI's API; `param` names the field at fault, if it is one; `retry_after` is
    in whole seconds."""

    status: int
    kind: str
    code: str
    message: str
    param: str | None = None
    retry_after: int | None = None
    more: Mapping[str, str] = field(default_factory=dict)  # headers

    @property
    def headers(self) -> dict[str, str]:
        return {**self.more} | ({} if self.retry_after is None else {"Retry-After": str(self.retry_after)})


def invalid(message: str, *, param: str | None = None, code: str = "invalid_value", status: int = 400) -> Problem:
    """The request is at fault."""
    return Problem(status=status, kind="invalid_request_error", code=code, message=message, param=param)


def problem(error: Exception) -> Problem:
    """What any error is to a client."""
    match error:
        case Problem():
            return error
        case Full(retry_after=seconds):
            return _busy(503, "server_error", "queue_full", str(error), seconds)
        case Closed():
            return _busy(503, "server_error", "shutting_down", str(error), RESTART)
        case Spent(retry_after=None):
            return Problem(status=429, kind="rate_limit_error", code="quota_too_small", message=str(error),
                           retry_after=86400)  # fmt: skip
        case Spent(retry_after=seconds):
            return _busy(429, "rate_limit_error", "rate_limit_exceeded", str(error), seconds)
        case Reused():
            return invalid(str(error), code="idempotency_key_reused", status=422)
        case UnknownModelError():
            return invalid(str(error), param="model", code="model_not_found", status=404)
        case InputError():
            return invalid(str(error))
        case RequestValidationError():
            return _unread(error)
        case HTTPException():
            return _refused(error)
        case Unavailable():
            log.error("the machine is at fault: %s", error)
            return _busy(503, "server_error", "unavailable", "the service cannot keep anything now: try again", SOON)
    return fault(error)


def problem_of(job: Job) -> Problem | None:
    """Why there are no pictures, where a job that is over has none."""
    match job.state:
        case State.DONE:
            return None
        case State.REFUSED:
            return invalid(job.error or "the model cannot draw this")
        case State.EXPIRED:
            return _busy(503, "server_error", "expired", "it had to wait for too long: try again", RESTART)
        case State.CANCELLED:
            return invalid("it was cancelled", code="cancelled", status=409)
    message = job.error or "it could not be drawn"
    return Problem(status=500, kind="server_error", code="drawing_failed", message=message)


def fault(error: Exception) -> Problem:
    """We are at fault, and nobody knew."""
    number = secrets.token_hex(4)
    log.error("error %s", number, exc_info=error)
    message = f"the service is at fault: error {number} in its log"
    return Problem(status=500, kind="server_error", code="internal_error", message=message)


def _busy(status: int, kind: str, code: str, message: str, seconds: int | None) -> Problem:
    return Problem(status=status, kind=kind, code=code, message=message, retry_after=max(1, seconds or SOON))


def _unread(error: RequestValidationError) -> Problem:
    first = error.errors()[0]
    place = [str(part) for part in first["loc"] if part not in ("body", "query", "path", "header")]
    where, said = ".".join(place), str(first["msg"]).removeprefix("Value error, ")
    return invalid(f"{where}: {said}" if where else said, param=where or None)


def _refused(error: HTTPException) -> Problem:
    kinds = {401: "authentication_error", 403: "permission_error"}
    kind = kinds.get(error.status_code, "invalid_request_error" if error.status_code < 500 else "server_error")
    codes = {401: "invalid_api_key", 404: "not_found", 405: "method_not_allowed", 413: "too_large"}
    code = codes.get(error.status_code, "refused")
    return Problem(
        status=error.status_code, kind=kind, code=code, message=str(error.detail), more=error.headers or {}
    )  # fmt: skip
