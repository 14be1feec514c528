"""Every wait and time limit of the agent towards a KubeFATE service, as one value."""

from __future__ import annotations

from dataclasses import dataclass

from fedcore import timing


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeFateTiming:
    """The waits of calls to KubeFATE's REST API."""

    call_limit_s: float = 30.0
    """For one call, a login included. The service answers within 2 s, but it installs nothing
    while its only process is busy with Helm."""

    connect_limit_s: float = 10.0
    """Until a TCP connection to the service is open, a lost SYN repeated after 1, 3 and 7 s."""

    upload_limit_s: float = 60.0
    """For the upload of one chart, up to 10 MB (``limits.MAX_CHART_BYTES``) over a port-forward."""

    chart_list_limit_s: float = 60.0
    """For the list of charts, which holds the templates of every chart: megabytes."""

    token_s: float = 25 * 60.0
    """Age at which a new token is fetched. The service's tokens live 30 minutes (KubeFATE
    ``pkg/api/jwt.go``)."""

    ask_limit_s: float = 5.0
    """For the question whether the service lives, a login included: a real one takes 1.25 s."""

    evidence_s: float = 4.0
    """How long an answer to anybody's request proves that the service lives; jobs are followed each
    3 s, so that a service in use is not asked."""

    def scaled(self, factor: float) -> KubeFateTiming:
        """Return a copy whose intervals are ``factor`` times less; limits stay."""
        return timing.scaled(self, factor)
