"""Answers of a hub, as its API documents them."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
WHEN = "2026-11-24T08:00:00Z"


def site(name: str = "alpha", state: str = "Online", **more: Any) -> Json:
    return {
        "id": f"id-{name}",
        "name": name,
        "state": state,
        "since": WHEN,
        "created_at": WHEN,
        "simulated": True,
        "agent_id": "agent-1",
        "agent_version": "0.1.0",
        "cluster_uid": "uid",
        "kubernetes_version": "v1.34.0",
        "node_count": 1,
        "last_seen_at": WHEN,
        "labels": {"region": "north"},
        "findings": [],
        **more,
    }


def participant(name: str = "credit-risk/9999", phase: str = "Ready", **more: Any) -> Json:
    federation, _, key = name.partition("/")
    return {
        "id": f"id-{key}",
        "name": name,
        "federation": federation,
        "key": key,
        "role": "exchange" if key == "exchange" else "cluster",
        "party_id": 0 if key == "exchange" else int(key),
        "site": "alpha",
        "namespace": f"fate-{key}",
        "phase": phase,
        "reason": "",
        "message": "",
        "since": WHEN,
        "last_known_phase": None,
        "generation": 1,
        "observed_generation": 1,
        "simulated": True,
        "removing": False,
        **more,
    }


def participant_detail(item: Json, **more: Any) -> Json:
    return {
        "participant": item,
        "reported_at": WHEN,
        "steps": [],
        "components": [],
        "addresses": [],
        "certificates": [],
        "tables": [],
        "probes": [],
        "findings": [],
        "job": None,
        "leftovers": [],
        **more,
    }


def federation(name: str = "credit-risk", **more: Any) -> Json:
    return {
        "id": "fed-1",
        "name": name,
        "domain": "credit-risk.example.com",
        "release": "1.8.0",
        "revision": 3,
        "removing": False,
        "created_at": WHEN,
        "updated_at": WHEN,
        "party_count": 1,
        "intent": {"name": name, "exchange": {"site": "hq"}},
        **more,
    }


def operation(state: str = "Running", **more: Any) -> Json:
    return {
        "id": "op-1",
        "kind": "apply",
        "subject": "federation/credit-risk",
        "requested_by": "admin",
        "state": state,
        "message": "",
        "created_at": WHEN,
        "ended_at": None,
        "targets": [],
        **more,
    }


def target(phase: str = "Deploying", **more: Any) -> Json:
    return {
        "resource_id": "id-9999",
        "generation": 1,
        "done": False,
        "name": "credit-risk/9999",
        "site": "alpha",
        "site_state": "Online",
        "observed_generation": 1,
        "phase": phase,
        "reason": "",
        "message": "",
        "steps": [],
        **more,
    }


def step(name: str, state: str) -> Json:
    return {"name": name, "state": state, "started_at": WHEN, "ended_at": None, "message": ""}


def change(kind: str = "created", **more: Any) -> Json:
    return {
        "resource_id": "id-9999",
        "resource": "credit-risk/9999",
        "site": "alpha",
        "change": kind,
        "lines": ["--- before", "+++ after", "@@ -0,0 +1 @@", "+namespace: fate-9999"],
        **more,
    }


def applied(**more: Any) -> Json:
    return {
        "federation": federation(),
        "created": True,
        "dry_run": False,
        "operation": operation(),
        "changes": [change()],
        "waiting": [],
        **more,
    }


def event(number: int, **more: Any) -> Json:
    return {
        "id": number,
        "occurred_at": WHEN,
        "recorded_at": WHEN,
        "kind": "site.joined",
        "severity": "info",
        "message": f"event number {number}",
        "site_id": None,
        "federation_id": None,
        "resource_id": None,
        "operation_id": None,
        "actor": None,
        "facts": {},
        **more,
    }
