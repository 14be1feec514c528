from __future__ import annotations

import pytest

from fedsim.faults import CATALOGUE, FaultError, FaultName, Faults, Service


def test_each_fault_is_documented_and_has_a_default_that_it_takes() -> None:
    assert set(CATALOGUE) == set(FaultName)
    for kind in CATALOGUE.values():
        assert kind.text.endswith((".", ")."))
        faults = Faults(kind.service)
        assert faults.set(kind.name).argument == kind.default


def test_a_service_refuses_the_other_services_faults() -> None:
    with pytest.raises(FaultError, match="no fault of kube"):
        Faults(Service.KUBE, ["job-hang"])
    with pytest.raises(FaultError, match="there are"):
        Faults(Service.KUBEFATE).set("crash")


def test_the_wrong_rollback_is_on_until_it_is_taken_back() -> None:
    faults = Faults(Service.KUBEFATE)
    assert faults.is_on(FaultName.WRONG_ROLLBACK)
    faults.clear("wrong-rollback")
    assert not faults.is_on(FaultName.WRONG_ROLLBACK)


def test_a_count_is_used_up_and_a_rate_is_repeatable() -> None:
    faults = Faults(Service.KUBE, ["api-errors=2"])
    assert [faults.strikes(FaultName.API_ERRORS) for _ in range(4)] == [True, True, False, False]

    def run() -> list[bool]:
        rated = Faults(Service.KUBE, ["api-errors=0.5"])
        return [rated.strikes(FaultName.API_ERRORS) for _ in range(50)]

    assert run() == run()
    assert 10 < sum(run()) < 40


def test_workloads_are_named_by_glob_with_or_without_their_namespace() -> None:
    faults = Faults(Service.KUBE, ["crash=pulsar", "crash=fate-9*/my*", "slow-image=5:python,9"])
    assert faults.hits(FaultName.CRASH, "pulsar", "any")
    assert faults.hits(FaultName.CRASH, "mysql", "fate-9999")
    assert not faults.hits(FaultName.CRASH, "mysql", "fate-10000")
    assert faults.seconds(FaultName.SLOW_IMAGE, "nginx") == 9
    assert faults.seconds(FaultName.SLOW_IMAGE, "python") == 9
    assert faults.seconds(FaultName.API_LATENCY) == 0


@pytest.mark.parametrize(
    "order",
    ["slow-image=soon", "slow-image=-1", "api-errors=x", "api-errors=1e3", "watch-silent=x"],
)
def test_an_argument_of_the_wrong_shape_is_refused(order: str) -> None:
    with pytest.raises(FaultError, match="takes"):
        Faults(Service.KUBE, [order])


def test_listeners_hear_of_every_order() -> None:
    faults = Faults(Service.KUBE)
    heard: list[int] = []
    faults.listen(lambda: heard.append(len(faults.ordered())))
    faults.set("crash")
    faults.clear("crash")
    assert heard == [1, 0]
