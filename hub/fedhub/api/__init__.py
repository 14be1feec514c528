"""REST under /api/v1: one module per resource; translates and calls a service, nothing else."""
