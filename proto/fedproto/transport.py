"""gRPC channels and servers as the product uses them: keepalive, limits, error translation."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from typing import Any, Final

import grpc
import grpc.aio
import structlog
from google.protobuf.message import DecodeError

from fedcore import limits
from fedcore.errors import ErrorCode, FedError, Invalid

log = structlog.get_logger()
ERROR_CODE_KEY: Final = "fed-error-code"
"""Trailing metadata that carries the error's code."""
GRPC_STATUSES: Final[dict[ErrorCode, grpc.StatusCode]] = {
    ErrorCode.INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorCode.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    ErrorCode.DENIED: grpc.StatusCode.PERMISSION_DENIED,
    ErrorCode.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    ErrorCode.CONFLICT: grpc.StatusCode.ALREADY_EXISTS,
    ErrorCode.PRECONDITION_FAILED: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorCode.TOO_LARGE: grpc.StatusCode.OUT_OF_RANGE,
    ErrorCode.TOO_MANY: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ErrorCode.FENCED: grpc.StatusCode.ABORTED,
    ErrorCode.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    ErrorCode.TIMEOUT: grpc.StatusCode.DEADLINE_EXCEEDED,
    ErrorCode.INTERNAL: grpc.StatusCode.INTERNAL,
}
"""Each code has a status of its own, so that a peer without the trailing key loses nothing."""
_CODES: Final = {status: code for code, status in GRPC_STATUSES.items()}


def server_options(
    max_message_bytes: int = limits.MAX_MESSAGE_BYTES,
) -> list[tuple[str, int | str]]:
    """Options of every server of ours."""
    return [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", limits.MAX_MESSAGE_BYTES),
        ("grpc.keepalive_time_ms", limits.KEEPALIVE_SERVER_S * 1000),
        ("grpc.keepalive_timeout_ms", limits.KEEPALIVE_SERVER_TIMEOUT_S * 1000),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", limits.MIN_PING_INTERVAL_S * 1000),
        ("grpc.http2.max_ping_strikes", 2),
        ("grpc.max_concurrent_streams", limits.MAX_STREAMS_PER_CONNECTION),
        ("grpc.server_handshake_timeout_ms", limits.HANDSHAKE_TIMEOUT_S * 1000),
        ("grpc.server.max_pending_requests", limits.MAX_PENDING_REQUESTS),
        ("grpc.server.max_pending_requests_hard_limit", limits.MAX_PENDING_REQUESTS_HARD),
        ("grpc.so_reuseport", 0),
    ]


def channel_options(server_name: str | None = None) -> list[tuple[str, int | str]]:
    """Options of every channel; ``server_name``: the peer's certified name, if not the host."""
    options: list[tuple[str, int | str]] = [
        ("grpc.max_receive_message_length", limits.MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", limits.MAX_MESSAGE_BYTES),
        ("grpc.keepalive_time_ms", limits.KEEPALIVE_CLIENT_S * 1000),
        ("grpc.keepalive_timeout_ms", limits.KEEPALIVE_CLIENT_TIMEOUT_S * 1000),
        ("grpc.http2.max_pings_without_data", 0),
        # We redial ourselves, with jitter; the channel's own delays must not hide behind ours.
        ("grpc.initial_reconnect_backoff_ms", 1000),
        ("grpc.max_reconnect_backoff_ms", 5000),
        # A channel per certificate: never share a connection of an older identity.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    if server_name is not None:
        options.append(("grpc.ssl_target_name_override", server_name))
    return options


def error_from_rpc(error: grpc.aio.AioRpcError) -> FedError:
    """Turn a failed call back into our error; without the trailing key, by its gRPC status."""
    trailing = error.trailing_metadata()
    stated = trailing.get(ERROR_CODE_KEY) if trailing is not None else None
    try:
        code = ErrorCode(stated if isinstance(stated, str) else "")
    except ValueError:
        code = _CODES.get(error.code(), ErrorCode.INTERNAL)
    return FedError(error.details() or str(error.code()), code=code)


async def abort_with(context: grpc.aio.ServicerContext[Any, Any], error: FedError) -> None:
    """End the call with the status for ``error``; only its public message goes out."""
    await context.abort(
        GRPC_STATUSES[error.code],
        error.message,
        trailing_metadata=((ERROR_CODE_KEY, error.code.value),),
    )


class ErrorInterceptor(grpc.aio.ServerInterceptor):
    """Translates handlers' errors: a ``FedError`` by its code, others to INTERNAL, logged.

    Bytes that are no message are INVALID: grpc.aio itself would tell the peer the exception and
    write a traceback for each, which any stranger could fill a disk with.
    """

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wrap the handler of one call."""
        handler = await continuation(handler_call_details)
        method = str(handler_call_details.method)
        if handler is None:
            return handler
        deserializer = _reading(handler.request_deserializer)
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(
                _guard_unary(handler.unary_unary, method),
                request_deserializer=deserializer,
                response_serializer=handler.response_serializer,
            )
        if handler.unary_stream:
            return grpc.unary_stream_rpc_method_handler(
                _guard_stream(handler.unary_stream, method),
                request_deserializer=deserializer,
                response_serializer=handler.response_serializer,
            )
        if handler.stream_stream:
            return grpc.stream_stream_rpc_method_handler(
                _guard_stream(handler.stream_stream, method),
                request_deserializer=deserializer,
                response_serializer=handler.response_serializer,
            )
        return handler


async def _translate(
    context: grpc.aio.ServicerContext[Any, Any], error: Exception, method: str
) -> None:
    if isinstance(error, FedError):
        log.info("rpc.refused", method=method, code=error.code.value, reason=error.message)
        await abort_with(context, error)
    log.error("rpc.failed", method=method, exc_info=error)
    await abort_with(context, FedError("internal error; the hub's log has the cause"))


class _Unreadable:
    """Stands for bytes that are no message."""


def _reading(deserializer: Callable[[bytes], Any] | None) -> Callable[[bytes], Any]:
    def read(data: bytes) -> Any:
        try:
            return data if deserializer is None else deserializer(data)
        except DecodeError:
            return _Unreadable()

    return read


def _readable(request: Any) -> Any:
    """Return a request, or the stream of them, of which none is unreadable."""
    if isinstance(request, AsyncIterable):
        return _readable_stream(request)
    if isinstance(request, _Unreadable):
        raise Invalid("these bytes are no message of this call")
    return request


async def _readable_stream(requests: AsyncIterable[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        yield _readable(request)


def _guard_unary(behaviour: Any, method: str) -> Any:
    async def guarded(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        try:
            return await behaviour(_readable(request), context)
        except grpc.aio.AbortError:
            raise
        except Exception as error:  # noqa: BLE001 - the edge of a call: everything is translated here
            await _translate(context, error, method)

    return guarded


def _guard_stream(behaviour: Any, method: str) -> Any:
    async def guarded(
        request: Any, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[Any]:
        try:
            async for answer in behaviour(_readable(request), context):
                yield answer
        except grpc.aio.AbortError:
            raise
        except Exception as error:  # noqa: BLE001 - the edge of a call: everything is translated here
            await _translate(context, error, method)

    return guarded
