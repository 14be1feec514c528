"""The agent: dials the hub, acts at its site with its own rights, reports."""
