"""Version 1 of the agent protocol: generated code beside its sources."""
