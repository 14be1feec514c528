"""Errors as RFC 9457 problem documents with a stable code."""

from __future__ import annotations

from typing import Final

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import BaseModel, Field

from fedcore.errors import RETRYABLE, ErrorCode, FedError, Invalid
from fedcore.ids import new_id

log = structlog.get_logger()
PROBLEM_TYPE: Final = "application/problem+json"
_URN: Final = "urn:fate-lifecycle-manager:problem:"


class FieldErrorView(BaseModel):
    """One error of the input."""

    path: str = Field(description="Dotted path of the field, list indexes included.")
    message: str = Field(description="What is wrong and what would be right.")


class Problem(BaseModel):
    """Why a request was not carried out (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str = Field(description="What happened, to what, and what to do.")
    code: str = Field(description="Stable word that programs may switch on.")
    retryable: bool = Field(description="True: the same request may succeed later.")
    request_id: str = Field(description="Find it in the server's log.")
    errors: list[FieldErrorView] = Field(
        default_factory=list, description="What is wrong with each field of the input."
    )


HTTP_STATUSES: Final[dict[ErrorCode, int]] = {
    ErrorCode.INVALID: 422,
    ErrorCode.UNAUTHENTICATED: 401,
    ErrorCode.DENIED: 403,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.CONFLICT: 409,
    ErrorCode.PRECONDITION_FAILED: 412,
    ErrorCode.TOO_LARGE: 413,
    ErrorCode.TOO_MANY: 429,
    ErrorCode.FENCED: 409,
    ErrorCode.UNAVAILABLE: 503,
    ErrorCode.TIMEOUT: 504,
    ErrorCode.INTERNAL: 500,
}
_CODES_OF_AIOHTTP: Final = {
    400: ErrorCode.INVALID,
    401: ErrorCode.UNAUTHENTICATED,
    403: ErrorCode.DENIED,
    404: ErrorCode.NOT_FOUND,
    405: ErrorCode.INVALID,
    406: ErrorCode.INVALID,
    408: ErrorCode.TIMEOUT,
    413: ErrorCode.TOO_LARGE,
    415: ErrorCode.INVALID,
    429: ErrorCode.TOO_MANY,
    503: ErrorCode.UNAVAILABLE,
}


def problem_response(error: FedError, request_id: str, status: int | None = None) -> web.Response:
    """Build the answer for ``error``; its public message and field errors leave."""
    code = error.code
    http_status = status if status is not None else HTTP_STATUSES[code]
    problem = Problem(
        type=_URN + code.value,
        title=code.value.replace("_", " "),
        status=http_status,
        detail=error.message,
        code=code.value,
        retryable=code in RETRYABLE,
        request_id=request_id,
        errors=[
            FieldErrorView(path=field.path, message=field.message)
            for field in (error.errors if isinstance(error, Invalid) else ())
        ],
    )
    headers = (
        {"WWW-Authenticate": "Bearer"} if http_status == web.HTTPUnauthorized.status_code else {}
    )
    if code in RETRYABLE:
        headers["Retry-After"] = "1"
    return web.Response(
        status=http_status,
        text=problem.model_dump_json(),
        content_type=PROBLEM_TYPE,
        headers=headers,
    )


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Translate every error of a handler; bind a request id for its log lines.

    It stands outermost. A middleware inside it may answer in place of an error, as the fallback of
    a single-page app does for 404: only what nobody answered becomes a problem document.
    """
    request_id = new_id()
    with structlog.contextvars.bound_contextvars(request_id=request_id):
        try:
            response = await handler(request)
        except FedError as error:
            if error.code is ErrorCode.INTERNAL:
                log.exception("request.failed", path=request.path)
            else:
                log.info("request.refused", path=request.path, code=error.code.value)
            response = problem_response(error, request_id)
        except web.HTTPException as error:
            response = _from_aiohttp(error, request_id)
        except Exception:
            log.exception("request.failed", path=request.path)
            internal = FedError(f"internal error; the log has the cause under {request_id}")
            response = problem_response(internal, request_id)
    if not response.prepared:
        response.headers["X-Request-Id"] = request_id
    return response


async def harden(_request: web.Request, response: web.StreamResponse) -> None:
    """Set the headers that every answer bears; for ``on_response_prepare``."""
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "no-referrer")
    response.headers.setdefault("Content-Security-Policy", "default-src 'none'")


def _from_aiohttp(error: web.HTTPException, request_id: str) -> web.StreamResponse:
    if error.status < web.HTTPBadRequest.status_code:
        raise error
    code = _CODES_OF_AIOHTTP.get(error.status, ErrorCode.INVALID)
    if error.status >= web.HTTPInternalServerError.status_code:
        code = ErrorCode.INTERNAL
    answer = problem_response(
        FedError(error.text or error.reason, code=code), request_id, status=error.status
    )
    if isinstance(error, web.HTTPRequestTimeout):
        answer.force_close()
    if isinstance(error, web.HTTPMethodNotAllowed):
        answer.headers["Allow"] = ", ".join(sorted(error.allowed_methods))
    return answer
