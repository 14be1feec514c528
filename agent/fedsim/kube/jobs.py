"""Jobs: pods that run to their end, counted until enough of them succeeded or too many failed."""

from __future__ import annotations

from fedsim.kube.cluster import Cluster, condition, is_ready, reference_to
from fedsim.kube.errors import ApiError
from fedsim.kube.kinds import JOBS, PODS
from fedsim.kube.lifecycle import Removal, Write
from fedsim.kube.store import Json, clone

_CONTROLLER = "job-controller"
_AS_CONTROLLER = Write("kube-controller-manager")
_RETRY_S = 2.0


class Jobs:
    """Runs the pods of each Job."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def reconcile(self, namespace: str, name: str) -> None:
        """Start what is missing, and say how the Job stands."""
        live = self._cluster.store.get(JOBS, namespace, name)
        if live is None or live["metadata"].get("deletionTimestamp"):
            return
        if self._is_over(live):
            self._expire(live)
            return
        pods = self._cluster.owned(PODS, live)
        counts = _counts(pods)
        if not live["spec"].get("suspend"):
            wanted = min(
                live["spec"]["parallelism"],
                live["spec"]["completions"] - counts["succeeded"],
            )
            if counts["failed"] <= live["spec"]["backoffLimit"]:
                for _ in range(wanted - counts["active"]):
                    self._make(live)
        self._write_status(live)

    def _is_over(self, live: Json) -> bool:
        conditions = (live.get("status") or {}).get("conditions") or ()
        return any(each["type"] in {"Complete", "Failed"} for each in conditions)

    def _expire(self, live: Json) -> None:
        limit_s = live["spec"].get("ttlSecondsAfterFinished")
        if limit_s is None:
            return
        metadata = live["metadata"]
        key = (metadata["namespace"], metadata["name"])

        def expire() -> None:
            found = self._cluster.store.get(JOBS, *key)
            if found and found["metadata"]["uid"] == metadata["uid"]:
                self._cluster.registry.delete(JOBS, *key, Removal())

        self._cluster.clock.call_once(("job-ttl", *key, metadata["uid"]), limit_s, expire)

    def _make(self, live: Json) -> None:
        cluster, metadata = self._cluster, live["metadata"]
        name = f"{metadata['name']}-{cluster.suffix()}"
        template = clone(live["spec"]["template"])
        pod = {
            "metadata": {
                **template["metadata"],
                "name": name,
                "generateName": f"{metadata['name']}-",
                "ownerReferences": [reference_to(live)],
            },
            "spec": template["spec"],
        }
        try:
            cluster.registry.create(PODS, metadata["namespace"], pod, _AS_CONTROLLER)
        except ApiError as error:
            cluster.recorder.warning(live, "FailedCreate", f"Error creating: {error}", _CONTROLLER)
            key = (metadata["namespace"], metadata["name"])
            cluster.clock.call_once(("job", *key), _RETRY_S, lambda: cluster.mark("job", *key))
            return
        cluster.recorder.normal(live, "SuccessfulCreate", f"Created pod: {name}", _CONTROLLER)

    def _write_status(self, live: Json) -> None:
        pods = self._cluster.owned(PODS, live)
        counts = _counts(pods)
        before = live.get("status") or {}
        stamp = self._cluster.clock.stamp()
        status: Json = {"startTime": before.get("startTime") or stamp, "terminating": 0}
        status["ready"] = sum(is_ready(pod) for pod in pods)
        status.update({name: count for name, count in counts.items() if count})
        if counts["succeeded"] >= live["spec"]["completions"]:
            status["completionTime"] = stamp
            status["conditions"] = [
                self._condition(live, "SuccessCriteriaMet", "CompletionsReached"),
                self._condition(live, "Complete", "CompletionsReached"),
            ]
            self._cluster.recorder.normal(live, "Completed", "Job completed", _CONTROLLER)
        elif counts["failed"] > live["spec"]["backoffLimit"]:
            reason = "BackoffLimitExceeded"
            text = "Job has reached the specified backoff limit"
            status["conditions"] = [
                self._condition(live, "FailureTarget", reason, text),
                self._condition(live, "Failed", reason, text),
            ]
            self._cluster.recorder.warning(live, reason, text, _CONTROLLER)
        self._cluster.registry.write_status(JOBS, live, status)

    def _condition(self, live: Json, name: str, reason: str, message: str = "") -> Json:
        stamp = self._cluster.clock.stamp()
        text = message or "Reached expected number of succeeded pods"
        made = condition(live, name, "True", stamp, reason=reason, message=text)
        return {**made, "lastProbeTime": stamp}


def _counts(pods: list[Json]) -> dict[str, int]:
    phases = [pod["status"].get("phase") for pod in pods]
    over = {"Succeeded", "Failed"}
    return {
        "succeeded": phases.count("Succeeded"),
        "failed": phases.count("Failed"),
        "active": sum(
            pod["status"].get("phase") not in over and not pod["metadata"].get("deletionTimestamp")
            for pod in pods
        ),
    }
