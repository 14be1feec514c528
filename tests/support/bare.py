"""A simulated cluster with a KubeFATE that lives in it, and the agent's own means on them."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.patience import patient

from fedagent.kube import objects
from fedagent.kube.client import Kube, connect
from fedagent.kube.kinds import DEPLOYMENTS
from fedagent.kubefate.access import Access, AccessMode, AccessSettings
from fedsim.kube import Delays, Forward, KubeSettings, SimulatedKube
from fedsim.kubefate import Settings, SimulatedKubeFATE
from fedsim.kubefate.settings import SecretName

HOME = "kube-fate"


@dataclass
class BareSite:
    """A site without an agent; KubeFATE is up once its manifests are applied."""

    kube: Kube
    access: Access
    simulated: SimulatedKube
    service: SimulatedKubeFATE


@asynccontextmanager
async def bare_site(folder: Path, *, time_scale: float, **given: Any) -> AsyncIterator[BareSite]:
    """Open one; `time_scale` is KubeFATE's, `given` are the cluster's settings."""
    folder.mkdir(parents=True, exist_ok=True)
    kubeconfig = folder / "kubeconfig"
    async with AsyncExitStack() as stack:
        settings = KubeSettings(**({"delays": Delays.none()} | given))
        simulated = await stack.enter_async_context(SimulatedKube(settings))
        simulated.write_kubeconfig(kubeconfig)
        wanted = Settings(
            kubeconfig,
            credentials_secret=SecretName(HOME, "kubefate-secret"),
            offline=True,
            time_scale=time_scale,
            availability_poll_s=0.02,
        )
        service = await stack.enter_async_context(SimulatedKubeFATE(wanted))
        port = int(service.url.rpartition(":")[2])
        simulated.cluster.forwards.append(Forward(HOME, "kubefate", 8080, "127.0.0.1", port))
        kube = await stack.enter_async_context(connect(kubeconfig))
        access = Access(kube, AccessSettings(AccessMode.PORT_FORWARD))
        stack.push_async_callback(access.close)
        yield BareSite(kube, access, simulated, service)


def chart_archive(name: str, version: str) -> bytes:
    """Make a chart's archive, the same bytes each time."""
    files = {
        "Chart.yaml": f"apiVersion: v1\nname: {name}\nversion: {version}\nappVersion: {version}\n",
        "values.yaml": "{}\n",
        "values-template.yaml": "{}\n",
        "templates/x.yaml": "\n",
    }
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for path, text in files.items():
            info = tarfile.TarInfo(f"{name}/{path}")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return gzip.compress(raw.getvalue(), mtime=0)


async def wait_service(kube: Kube, namespace: str) -> bool:
    """Wait until KubeFATE's Deployment has a ready pod; False when it gets none."""
    return await objects.wait_until(
        kube,
        DEPLOYMENTS,
        "kubefate",
        lambda body: body is not None and bool(body.get("status", {}).get("readyReplicas")),
        namespace=namespace,
        limit_s=patient(),
    )
