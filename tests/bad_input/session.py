"""A session that no stream stands behind: what readers of frames ask for."""

from __future__ import annotations

from fedcore.clock import SystemClock
from fedhub.fleet.agent_sessions import LiveAgentSession
from fedhub.fleet.document_cursor import DocumentCursor
from fedhub.fleet.frame_stream import FrameStream
from fedhub.fleet.liveness import Liveness
from fedhub.fleet.rate_limit import frame_rate

CLOCK = SystemClock()
SESSION = LiveAgentSession(
    agent_id="a",
    site_id="s",
    site_name="alpha",
    epoch=1,
    session_id="s",
    instance_id="i",
    serial="1",
    spool_id="",
    stream=FrameStream(epoch=1, site_name="alpha", full_limit_s=10.0),
    documents=DocumentCursor(),
    liveness=Liveness(CLOCK),
    frame_rate=frame_rate(CLOCK),
)
