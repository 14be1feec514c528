"""Every size and time limit of the wire, in one place.

Reasons and measurements: docs/protocol.md. Units are in the names (``_S`` seconds).
"""

from __future__ import annotations

from typing import Final

PROTOCOL_MIN: Final = 1
PROTOCOL_MAX: Final = 1

MAX_MESSAGE_BYTES: Final = 1024 * 1024
"""A gRPC message either way; bulk goes by FetchBlob."""
MAX_ENROL_MESSAGE_BYTES: Final = 32 * 1024
MAX_CSR_BYTES: Final = 16 * 1024
MAX_CLUSTER_JSON_BYTES: Final = 256 * 1024
MAX_STATUS_BYTES: Final = 256 * 1024
MAX_EVENT_BYTES: Final = 16 * 1024
"""The agent cuts before its spool, the hub before it stores; both say so in the facts."""
MAX_EVENT_MESSAGE_CHARS: Final = 2_000
MAX_EVENT_FACTS: Final = 32
MAX_TEXT_CHARS: Final = 4_000
MAX_CHART_BYTES: Final = 10 * 1024 * 1024
MAX_CHART_UNPACKED_BYTES: Final = 50 * 1024 * 1024
MAX_CHART_FILES: Final = 2_000
BLOB_CHUNK_BYTES: Final = 256 * 1024

MAX_STATUSES_PER_REPORT: Final = 32
"""One transaction, and each costs the hub's only writer about 5 ms; an agent sends one a frame."""
MAX_BATCH_EVENTS: Final = 256
MAX_BATCH_BYTES: Final = 256 * 1024
"""Of events, as the agent counts them: without their numbers and framing."""
MAX_BATCH_WIRE_BYTES: Final = MAX_BATCH_BYTES + MAX_BATCH_EVENTS * 16 + 256
"""What the hub takes: 14 bytes at most for number and framing of each, and the spool's id."""
MAX_UNACKED_BATCHES: Final = 8
SPOOL_MAX_ROWS: Final = 200_000
SPOOL_MAX_BYTES: Final = 64 * 1024 * 1024

KEEPALIVE_CLIENT_S: Final = 30
KEEPALIVE_CLIENT_TIMEOUT_S: Final = 15
KEEPALIVE_SERVER_S: Final = 60
KEEPALIVE_SERVER_TIMEOUT_S: Final = 20
MIN_PING_INTERVAL_S: Final = 10
"""Below the client's keepalive, or the server answers too_many_pings."""
HANDSHAKE_TIMEOUT_S: Final = 10
HELLO_TIMEOUT_S: Final = 10

HEARTBEAT_INTERVAL_S: Final = 15
HEARTBEAT_MAX_INTERVAL_S: Final = 120
LEASE_INTERVALS: Final = 3
"""Missed heartbeat intervals after which a site is Offline, and a silent hub is redialled."""
MAX_PENDING_REQUESTS: Final = 20_000
MAX_PENDING_REQUESTS_HARD: Final = 40_000
MAX_STREAMS_PER_CONNECTION: Final = 16
DOWN_QUEUE_FRAMES: Final = 64
DOWN_QUEUE_FULL_S: Final = 10
FRAMES_PER_S: Final = 50
FRAMES_BURST: Final = 200
EVENTS_PER_TURN: Final = 32
"""Events of a batch that are charged as one frame; a status is charged as one each."""
SITE_EVENTS_PER_HOUR: Final = 10_000
"""Kept for a site: a first installation of 60 parties makes about 2,000. More waits there."""
EVENT_CHARGE_BYTES: Final = 1024
"""An event is charged as one for each of these that it begins: 240 MB a day at most."""

MAX_SITE_CERTIFICATES_PER_DAY: Final = 200
"""Room for the first installation of 60 parties at one site; an agent that loops stops there."""
MAX_FOLLOWERS_PER_PRINCIPAL: Final = 16
MAX_FOLLOWERS: Final = 64
"""In one process: each may hold a batch of events and a full write buffer in its memory."""

JOIN_TOKEN_LIFE_S: Final = 15 * 60
JOIN_TOKEN_MAX_LIFE_S: Final = 24 * 3600
