"""When the service is up: only while the Deployment that the agent installs is available.

The simulated process is not in the pod, so it looks at the pod: a new pod is a new process life, a
new pod of MariaDB without a volume is an empty database.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

import structlog

from fedsim.kubefate.core import Core
from fedsim.kubefate.kubernetes_api import ApiError
from fedsim.kubefate.settings import SecretName

log = structlog.get_logger()
SERVICE: Final = "kubefate"
DATABASE: Final = "mariadb"
_DATABASE_FACT: Final = "store of the database"


class Availability:
    """Follows the Deployments ``kubefate`` and ``mariadb`` beside the Secret of credentials."""

    def __init__(self, core: Core, secret: SecretName) -> None:
        self._core = core
        self._secret = secret
        self._pod = ""
        self._store = core.state.database.fact(_DATABASE_FACT)

    async def follow(self) -> None:
        """Look for ever; a look that fails is tried again and changes nothing."""
        while True:
            try:
                await self.look()
            except (ApiError, KeyError) as error:
                log.warning("availability.unread", cause=str(error))
            await self._core.clock.sleep(self._core.settings.availability_poll_s)

    async def look(self) -> None:
        """Compare the pods with those of the last look; start, stop or empty the service."""
        await self._look_at_database()
        pod = await self._available_pod(SERVICE)
        if not pod:
            if self._core.is_up:
                log.info("service.stopped")
                self._core.stop()
            self._pod = ""
            return
        if pod != self._pod:
            credentials = await self._credentials()
            if credentials is None:
                return
            self._core.start(*credentials)
            self._pod = pod

    async def _look_at_database(self) -> None:
        store = await self._find_store()
        if not store:
            return
        if self._store and self._store != store:
            self._core.lose_database()
        self._store = store
        self._core.state.database.remember(_DATABASE_FACT, store)

    async def _find_store(self) -> str:
        """Return the uid of what the database's data lies on: a claim, or the pod itself."""
        namespace = self._secret.namespace
        workload = await self._core.api.find("Deployment", namespace, DATABASE)
        if workload is None:
            return ""
        volumes = workload["spec"]["template"]["spec"].get("volumes") or []
        claims = [item["persistentVolumeClaim"] for item in volumes if _has_claim(item)]
        if not claims:
            return await self._available_pod(DATABASE)
        name = str(claims[0]["claimName"])
        claim = await self._core.api.find("PersistentVolumeClaim", namespace, name)
        return "" if claim is None else str(claim["metadata"].get("uid") or name)

    async def _available_pod(self, name: str) -> str:
        """Return the uid of the running pod of an available Deployment, or nothing."""
        namespace = self._secret.namespace
        workload = await self._core.api.find("Deployment", namespace, name)
        if workload is None or not (workload.get("status") or {}).get("availableReplicas"):
            return ""
        labels = workload["spec"]["selector"].get("matchLabels") or {}
        selector = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
        pods = await self._core.api.list("Pod", namespace, selector)
        living = [pod["metadata"] for pod in pods if _is_living(pod)]
        newest = max(living, key=lambda about: str(about.get("creationTimestamp")), default=None)
        return str(newest["uid"]) if newest else ""

    async def _credentials(self) -> tuple[str, str] | None:
        secret = await self._core.api.find("Secret", self._secret.namespace, self._secret.name)
        data = (secret or {}).get("data") or {}
        try:
            username, password = (
                base64.b64decode(data[key]).decode()
                for key in ("kubefateUsername", "kubefatePassword")
            )
        except (KeyError, ValueError, binascii.Error) as error:
            log.warning("availability.no_credentials", secret=self._secret.name, cause=str(error))
            return None
        return username, password


def _has_claim(volume: dict[str, Any]) -> bool:
    return bool(volume.get("persistentVolumeClaim"))


def _is_living(pod: dict[str, Any]) -> bool:
    is_running = (pod.get("status") or {}).get("phase") == "Running"
    return is_running and not pod["metadata"].get("deletionTimestamp")
