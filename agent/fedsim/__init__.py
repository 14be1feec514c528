"""The simulated site: a small Kubernetes API server and the KubeFATE service, to play with."""
