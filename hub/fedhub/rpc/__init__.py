"""gRPC: translates frames and calls a service, nothing else."""
