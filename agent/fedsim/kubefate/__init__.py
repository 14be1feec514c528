"""The KubeFATE service, simulated over real HTTP on any Kubernetes API.

It creates the objects that FATE's charts create and waits for their real conditions, with the real
service's states, texts, redirects and bugs (KubeFATE ``pkg/api``, ``pkg/job``, ``pkg/modules``).

=============== ==================== ============================================================
methods         path                 what is simulated
=============== ==================== ============================================================
GET             /                    the root
GET             /v1/                 its error
GET             /v1/version/         ``v1.4.5``, or what the settings say
POST            /v1/user/login       one user; a token lives 30 minutes and dies with the process
POST            /v1/user/logout      answers, and does nothing
POST PUT        /v1/cluster          install and update jobs; a roll-back to the wrong revision
GET             /v1/cluster/         records as they were stored
GET DELETE      /v1/cluster/{uuid}   a record compared with Kubernetes; a job that deletes
GET             /v1/job/             records with states and sub-jobs
GET PUT DELETE  /v1/job/{uuid}       a record; a stop of an install
POST            /v1/chart            an upload by multipart
GET             /v1/chart/           records with templates
GET DELETE      /v1/chart/{uuid}     a record
=============== ==================== ============================================================

Helm: revisions as Secrets, three-way merge, ownership, pending revisions. Charts: ``fate`` and
``fate-exchange`` 1.8.0 on Spark and Pulsar, the product's catalogue; their objects without what
nothing reads (commands, probes, environment). Not simulated: users, logs, namespaces, the upgrade
manager, other charts and engines.
"""

from __future__ import annotations

from fedsim.kubefate.service import SimulatedKubeFATE
from fedsim.kubefate.settings import SecretName, Settings

__all__ = ["SecretName", "Settings", "SimulatedKubeFATE"]
