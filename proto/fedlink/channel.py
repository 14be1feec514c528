"""The channel to the hub: how it is opened, who may use it, and what its calls raise."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import grpc.aio

from fedcore.errors import Unavailable
from fedlink.identity import Identity
from fedproto.transport import channel_options, error_from_rpc


class LiveChannel:
    """The channel of the present session, for calls beside it.

    It exists before the first session and outlives each, so that it can be given to everybody who
    calls the hub. Only ``HubConnection`` sets it.
    """

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self._channel: grpc.aio.Channel | None = None

    def get(self) -> grpc.aio.Channel:
        """Return the channel; raises Unavailable while there is no session."""
        if self._channel is None:
            raise Unavailable("the hub is not connected")
        return self._channel

    def set(self, channel: grpc.aio.Channel) -> None:
        """Note that a session is held over this channel."""
        self._channel = channel
        self.opened.set()

    def clear(self) -> None:
        """Note that the session is over."""
        self._channel = None
        self.opened.clear()


def open_channel(identity: Identity) -> grpc.aio.Channel:
    """Make a channel to the hub's link port, with the identity's certificate on our side."""
    credentials = grpc.ssl_channel_credentials(
        root_certificates=identity.roots_pem,
        private_key=identity.key_pem,
        certificate_chain=identity.chain_pem,
    )
    options = channel_options(identity.hub_name)
    return grpc.aio.secure_channel(identity.link_address, credentials, options=options)


@contextmanager
def typed_errors() -> Iterator[None]:
    """Make the errors of a call ours, also where its channel was closed under it.

    grpc.aio then raises CancelledError, though nobody cancelled the task that waits: let through,
    it would end that task without a word.
    """
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise error_from_rpc(error) from error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise Unavailable("the connection to the hub was closed") from error
