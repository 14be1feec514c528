"""A small simulated Kubernetes API server in which workloads become ready after some seconds."""

from __future__ import annotations

from fedsim.kube.server import SimulatedKube
from fedsim.kube.settings import Delays, Forward, KubeSettings

__all__ = ["Delays", "Forward", "KubeSettings", "SimulatedKube"]
