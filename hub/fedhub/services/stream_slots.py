"""How many may follow the events at once: a line each, for as long as its reader likes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from fedcore import limits
from fedcore.errors import ErrorCode, FedError


class Followers:
    """The places of this process's followers, by principal."""

    def __init__(self) -> None:
        self._held: Counter[str] = Counter()

    @contextmanager
    def place(self, principal: str) -> Iterator[None]:
        """Hold a place while in the block; raise TOO_MANY when the principal or all have theirs."""
        if self._held[principal] >= limits.MAX_FOLLOWERS_PER_PRINCIPAL:
            raise FedError(
                f"{principal} follows the events {limits.MAX_FOLLOWERS_PER_PRINCIPAL} times "
                "already; close one of them",
                code=ErrorCode.TOO_MANY,
            )
        if self._held.total() >= limits.MAX_FOLLOWERS:
            raise FedError("too many follow the events; try again later", code=ErrorCode.TOO_MANY)
        self._held[principal] += 1
        try:
            yield
        finally:
            self._held[principal] -= 1
            if not self._held[principal]:
                del self._held[principal]
