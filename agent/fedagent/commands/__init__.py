"""One-off requests of the hub: one module per command."""
