"""Render chart ``fate``: one FATE party, with the engines its cluster.yaml names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedsim.kubefate import party_core, party_eggroll, party_spark
from fedsim.kubefate.objects import Context, Identity, Object
from fedsim.kubefate.party_values import party_values
from fedsim.kubefate.values import RenderError, go_number

_ENGINE_KEYS = ("computing", "federation", "storage", "algorithm", "device")
_BACKENDS = {
    ("spark", "pulsar"): "spark_pulsar",
    ("spark", "rabbitmq"): "spark_rabbitmq",
    ("spark_local", "pulsar"): "spark_local_pulsar",
}
_MAKERS = {
    "python": party_core.python,
    "fateboard": party_core.fateboard,
    "client": party_core.client,
    "mysql": party_core.mysql,
    "spark": party_spark.spark,
    "hdfs": party_spark.hdfs,
    "nginx": party_spark.nginx,
    "pulsar": party_spark.pulsar,
    "rabbitmq": party_spark.rabbitmq,
    "clustermanager": party_eggroll.clustermanager,
    "nodemanager": party_eggroll.nodemanager,
    "rollsite": party_eggroll.rollsite,
    "osx": party_eggroll.osx,
}


def render_party(
    spec: Mapping[str, Any], release: str, namespace: str, tag: str, *, is_stateful: bool
) -> list[Object]:
    """Return the objects of a party; raise RenderError. ``is_stateful``: a chart from 1.9 on."""
    if is_stateful:
        spec = {**spec, "backend": _backend(spec)}
    values = party_values(spec, tag)
    party_id = go_number(values.get("partyId"))
    name = str(values.get("partyName") or "")
    identity = Identity(name, party_id, release, namespace, "fate")
    context = Context(identity, values, is_stateful)
    objects: list[Object] = []
    for module, maker in _MAKERS.items():
        if context.has(module):
            objects += maker(context)
    return objects


def _backend(spec: Mapping[str, Any]) -> str:
    """Name the engines as 1.8 does; charts from 1.9 on need all five keys."""
    for key in _ENGINE_KEYS:
        if not spec.get(key):
            raise RenderError(
                'template: fate-values-templates: executing "fate-values-templates" at '
                f"<lower>: invalid value; expected string (.{key})"
            )
    pair = (str(spec["computing"]).lower(), str(spec["federation"]).lower())
    return _BACKENDS.get(pair, "eggroll")
