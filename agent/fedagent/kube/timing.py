"""Every wait and time limit of the agent towards its Kubernetes API server, as one value."""

from __future__ import annotations

from dataclasses import dataclass, field

from fedcore import timing
from fedcore.backoff import Backoff


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchTiming:
    """How long a watch lasts, how long it may be silent, and when it is begun anew."""

    window_s: float = 30.0
    """How long the server is asked to keep a watch open (``timeoutSeconds``). client-go asks for 5
    to 10 minutes; a change that a deaf watch missed is seen at its end, so ours are shorter."""

    grace_s: float = 10.0
    """How long after the end of its window a watch may be silent before it counts as dead."""

    pulse_s: float = 10.0
    """How often a watch that is quiet within its time says that it is well."""

    backoff: Backoff = Backoff(base_s=0.5, cap_s=30.0)
    """Before a watch that failed is begun anew; client-go's reflector waits 0.8 to 30 s."""

    @property
    def silent_s(self) -> float:
        """After so long without a word a watch is dead."""
        return self.window_s + self.grace_s


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeTiming:
    """The waits of requests, streams and watches."""

    request_limit_s: float = 30.0
    """For one request with its repetitions, and for opening a stream. An API server itself ends a
    request after 60 s (``--request-timeout``); one that takes half of that serves nobody."""

    connect_limit_s: float = 10.0
    """Until a TCP connection to the API server is open. Linux repeats a lost SYN after 1, 3 and
    7 s."""

    throttle_count: int = 4
    """How often one request is sent while the server answers 429 (API Priority and Fairness)."""

    throttle_wait_s: float = 1.0
    """Wait after a 429 that names none in ``Retry-After``. The API server itself says 1 s."""

    throttle_max_wait_s: float = 10.0
    """The longest ``Retry-After`` that is followed within one request."""

    token_s: float = 60.0
    """Age at which a bearer token is read again from its file or plugin. The kubelet renews a pod's
    token in place; client-go reads it again each minute, too."""

    config_limit_s: float = 30.0
    """For reading a kubeconfig with its plugins: an ``exec`` plugin may ask a cloud."""

    forward_limit_s: float = 15.0
    """For opening one connection through a port-forward."""

    grant_limit_s: float = 10.0
    """For a role binding to take effect: the API server's authorizer learns of it by a watch."""

    grant_poll_s: float = 0.1
    """Between two questions whether it has."""

    watch: WatchTiming = field(default_factory=WatchTiming)
    """Of every watch."""

    def scaled(self, factor: float) -> KubeTiming:
        """Return a copy whose intervals are ``factor`` times less; limits stay."""
        return timing.scaled(self, factor)
