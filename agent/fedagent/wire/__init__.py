"""The agent protocol as the agent reads and writes it: documents in, statuses and events out."""
