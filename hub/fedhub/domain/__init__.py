"""Values and state tables of the hub: no I/O, no clock."""
