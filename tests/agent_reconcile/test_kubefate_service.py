"""One writer publishes the service, participants read it, and each hears of the other in time."""

from __future__ import annotations

from typing import Any, cast

import pytest

from fedagent.domain.observed import ServiceAccess
from fedagent.kubefate.access import Access, AccessMode
from fedagent.kubefate.errors import Unauthorized, Unavailable
from fedagent.kubefate.service import ServiceObservation
from fedagent.reconcile.kubefate_service import KubeFateService

READY = ServiceObservation(
    namespace="kube-fate",
    is_installed=True,
    access=AccessMode.SERVICE,
    version="v1.4.5",
    is_ready=True,
)


class Calls:
    """A service whose callbacks are counted."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        access: Any = type("Access", (), {"mode": AccessMode.SERVICE})()
        self.service = KubeFateService(
            cast("Access", access),
            known_limit_s=0.05,
            on_change=lambda: self.heard.append("change"),
            on_unreachable=lambda: self.heard.append("unreachable"),
        )

    def publish(self, namespace: str | None = "kube-fate", *, is_ready: bool = True) -> None:
        self.service.publish(READY, namespace=namespace, is_ready=is_ready)


def test_participants_hear_of_a_change_and_of_nothing_else() -> None:
    calls = Calls()
    calls.publish()
    calls.publish()
    assert calls.heard == ["change"]
    calls.publish(is_ready=False)
    calls.publish(None, is_ready=False)
    assert calls.heard == ["change"] * 3
    calls.service.withdraw()
    assert calls.heard == ["change"] * 4


def test_a_service_that_was_not_ready_is_not_doubted() -> None:
    calls = Calls()
    calls.service.report_unreachable()
    assert calls.heard == []


def test_a_doubt_has_the_service_asked_once() -> None:
    calls = Calls()
    calls.publish()
    assert calls.service.evidence() is READY
    calls.service.report_unreachable()
    assert calls.heard == ["change", "unreachable"]
    assert calls.service.evidence() is None
    assert calls.service.evidence() is READY


async def test_without_an_endpoint_there_is_no_client_and_no_refusal() -> None:
    calls = Calls()
    with pytest.raises(Unavailable):
        await calls.service.client()
    refused = Unauthorized("no")
    assert calls.service.access_after(refused)[0] is ServiceAccess.ABSENT
    calls.publish()
    assert calls.service.access_after(refused)[0] is ServiceAccess.UNAUTHORIZED
    assert calls.service.access_after(Unavailable("?"))[0] is ServiceAccess.UNREACHABLE


async def test_nobody_waits_long_for_an_endpoint_that_does_not_come() -> None:
    calls = Calls()
    await calls.service.wait_known()
    calls.publish()
    await calls.service.wait_known()
