"""A session that no stream stands behind: what readers of frames ask for."""

from __future__ import annotations

from fedhub.fleet.sessions import LiveSession

SESSION = LiveSession(
    agent_id="a",
    site_id="s",
    site_name="alpha",
    epoch=1,
    session_id="s",
    instance_id="i",
    serial="1",
    heard_at=0.0,
)
