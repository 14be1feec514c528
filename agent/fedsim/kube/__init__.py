"""A small simulated Kubernetes API server in which workloads become ready after some seconds.

It holds what the agent, the simulated KubeFATE and kubectl's reading commands use, in the words of
Kubernetes 1.34. Every kind below can be created, read, listed, watched, replaced, patched (merge
patch and server-side apply) and deleted; ``kinds.RESOURCES`` is the registry.

======================= ==========================================================================
kind                    what is simulated beside keeping it
======================= ==========================================================================
namespaces              a default ServiceAccount and the CA's ConfigMap; ends with its contents
nodes                   one, at the address of the settings; ready, or lost by a fault
secrets                 ``stringData``; mounts and environment of pods
configmaps              mounts of pods, which see a change after a while; a limit of 1 MiB
services                cluster IPs, node ports that are really bound, a load balancer's address
pods                    scheduling, pulling, probes, crashes, stopping; log, exec (a few commands),
                        portforward (to an address of the settings); Traffic Server and Pulsar's
                        broker answer at node ports
events                  of scheduler, kubelet and controllers; a repeated one is counted
serviceaccounts         a pod is refused without its own
persistentvolumeclaims  bound to a volume that is a name alone; kept while a pod uses it
deployments             roll-outs (``Recreate``, and all new before any old goes), conditions
replicasets             their pods; a refusal shows as ``ReplicaFailure``
statefulsets            nothing
jobs                    nothing
ingresses               nothing
roles                   nothing: the token may do everything that the fault ``forbidden`` permits
rolebindings            nothing, as for roles
clusterroles            nothing, as for roles
clusterrolebindings     nothing, as for roles
storageclasses          one, ``standard``, the default
======================= ==========================================================================

Further: ``/version``, discovery, health, and SelfSubjectAccessReview. Rules that hold for every
kind: resource versions and watches with bookmarks and 410, paged lists, label and field selectors
by equality, conflicts, immutable fields, finalizers, owners (background and foreground deletion),
defaults as far as a controller reads them. Server-side apply knows who applied a field; it takes a
list as a whole, and a plain update takes no field over. Not simulated: other subresources
(``status``, ``scale``), dry runs, strategic merge and JSON patches, deletion of collections, quotas
and admission but as faults, protobuf, OpenAPI.
"""

from __future__ import annotations

from fedsim.kube.server import SimulatedKube
from fedsim.kube.settings import Delays, Forward, KubeSettings

__all__ = ["Delays", "Forward", "KubeSettings", "SimulatedKube"]
