from __future__ import annotations

from typing import Any

import pytest

from fedagent.kube import client as client_module
from fedagent.kube import errors, objects
from fedagent.kube.client import Kube
from fedagent.kube.kinds import CONFIGMAPS, NAMESPACES, PODS, SECRETS
from fedagent.kube.watches import Informer
from fedcore.tasks import LoopHealth


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        (404, "NotFound", errors.NotFound),
        (409, "AlreadyExists", errors.AlreadyExists),
        (409, "Conflict", errors.Conflict),
        (410, "Expired", errors.Gone),
        (422, "Invalid", errors.Invalid),
        (400, "BadRequest", errors.Invalid),
        (403, "Forbidden", errors.Forbidden),
        (500, "InternalError", errors.Unavailable),
        (503, "ServiceUnavailable", errors.Unavailable),
    ],
)
async def test_the_servers_word_becomes_a_typed_error(
    kube: Kube, api: Any, answers: Any, code: int, reason: str, *, expected: Any
) -> None:
    api.answer(answers.failure(code, reason, "because"))
    with pytest.raises(expected, match="because") as caught:
        await objects.get(kube, PODS, "p", namespace="ns")
    assert (caught.value.status, caught.value.reason) == (code, reason)


async def test_a_busy_server_is_asked_again(kube: Kube, api: Any, answers: Any) -> None:
    busy = answers.json({"reason": "TooManyRequests"}, 429, **{"Retry-After": "0"})
    api.answer(busy, busy, answers.json({"metadata": {"name": "p"}}))
    assert await objects.find(kube, PODS, "p", namespace="ns") is not None
    assert len(api.requests) == 3


async def test_a_server_that_stays_busy_is_unavailable(kube: Kube, api: Any, answers: Any) -> None:
    api.answer(answers.json({"reason": "TooManyRequests"}, 429, **{"Retry-After": "0"}))
    with pytest.raises(errors.Unavailable) as caught:
        await objects.get(kube, PODS, "p", namespace="ns")
    assert caught.value.status == 429
    assert len(api.requests) == 4


async def test_a_token_that_ran_out_is_read_again(kube: Kube, api: Any, answers: Any) -> None:
    api.answer(answers.failure(401, "Unauthorized"), answers.json({"metadata": {}}))
    await objects.get(kube, PODS, "p", namespace="ns")
    sent = [request.headers["Authorization"] for request in api.requests]
    assert sent == ["Bearer one", "Bearer two"]


async def test_a_token_is_read_again_each_minute(
    kube: Kube, api: Any, answers: Any, clock: Any
) -> None:
    api.answer(answers.json({"metadata": {}}))
    for seconds in (0.0, 59.0, 61.0):
        clock.seconds = seconds
        await objects.get(kube, PODS, "p", namespace="ns")
    sent = [request.headers["Authorization"] for request in api.requests]
    assert sent == ["Bearer one", "Bearer one", "Bearer two"]


async def test_credentials_that_stay_wrong_are_named(kube: Kube, api: Any, answers: Any) -> None:
    api.answer(answers.failure(401, "Unauthorized"))
    with pytest.raises(errors.Unauthorized):
        await objects.get(kube, PODS, "p", namespace="ns")
    assert len(api.requests) == 2


async def test_silence_ends_with_the_time_limit(kube: Kube, api: Any, answers: Any) -> None:
    api.answer(answers.watch(end="silent"))
    with pytest.raises(errors.Unavailable, match="no answer within"):
        await kube.request("GET", "/api", limit_s=0.05)


async def test_an_answer_that_is_no_json_is_unavailable(kube: Kube, api: Any, answers: Any) -> None:
    api.answer(answers.watch())
    assert await kube.request("GET", "/api") == {}
    api.answer(answers.watch(("ADDED", "a", "1"), ("ADDED", "b", "2")))
    api.handlers.pop(0)
    with pytest.raises(errors.Unavailable, match="no JSON"):
        await kube.request("GET", "/api")


async def test_an_answer_above_the_limit_is_cut(
    kube: Kube, api: Any, answers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "MAX_ANSWER_BYTES", 100)
    api.answer(answers.json({"x": "y" * 200}))
    with pytest.raises(errors.TooLarge):
        await kube.request("GET", "/api")


async def test_secrets_are_never_read_cluster_wide(kube: Kube, clock: Any) -> None:
    with pytest.raises(ValueError, match="cluster-wide"):
        await objects.list_all(kube, SECRETS)
    with pytest.raises(ValueError, match="cluster-wide"):
        await objects.list_all(kube, SECRETS, namespace="")
    with pytest.raises(ValueError, match="cluster-wide"):
        Informer(kube, SECRETS, namespace=None, loop_health=LoopHealth(clock))


async def test_a_list_whose_pages_expired_is_begun_again(
    kube: Kube, api: Any, answers: Any
) -> None:
    page = {"metadata": {"continue": "c", "resourceVersion": "1"}, "items": [{"metadata": {}}]}
    api.answer(
        answers.json(page), answers.failure(410, "Expired"), answers.items("a", "b", version="2")
    )
    found = await objects.list_all(kube, PODS, namespace="ns")
    assert [item["metadata"]["name"] for item in found] == ["a", "b"]


def test_paths_follow_group_namespace_and_name() -> None:
    assert PODS.path(namespace="ns", name="p") == "/api/v1/namespaces/ns/pods/p"
    assert CONFIGMAPS.path() == "/api/v1/configmaps"
    assert NAMESPACES.path(name="ns") == "/api/v1/namespaces/ns"
    with pytest.raises(ValueError, match="no namespace"):
        NAMESPACES.path(namespace="ns")
    with pytest.raises(ValueError, match="missing"):
        PODS.path(name="p")
