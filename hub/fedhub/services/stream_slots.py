"""How many event streams may be open at once: each holds memory for as long as its reader likes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from fedcore import limits
from fedcore.errors import ErrorCode, FedError
from fedhub.domain.access import Principal


class StreamSlots:
    """The slots of this process's event streams, counted by principal."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()

    @contextmanager
    def hold(self, principal: Principal) -> Iterator[None]:
        """Hold a slot while in the block; raise TOO_MANY when the principal or all have theirs."""
        if self._taken[principal.id] >= limits.MAX_FOLLOWERS_PER_PRINCIPAL:
            raise FedError(
                f"{principal.name} follows the events {limits.MAX_FOLLOWERS_PER_PRINCIPAL} times "
                "already; close one of them",
                code=ErrorCode.TOO_MANY,
            )
        if self._taken.total() >= limits.MAX_FOLLOWERS:
            raise FedError("too many follow the events; try again later", code=ErrorCode.TOO_MANY)
        self._taken[principal.id] += 1
        try:
            yield
        finally:
            self._taken[principal.id] -= 1
            if not self._taken[principal.id]:
                del self._taken[principal.id]
