"""The KubeFATE service, simulated over real HTTP on any Kubernetes API.

It creates the objects that FATE's charts create and waits for their real conditions, with the real
service's states, texts, redirects and bugs.
"""

from __future__ import annotations

from fedsim.kubefate.service import SimulatedKubeFATE
from fedsim.kubefate.settings import SecretName, ServiceVersion, Settings

__all__ = ["SecretName", "ServiceVersion", "Settings", "SimulatedKubeFATE"]
