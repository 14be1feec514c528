"""The site's Kubernetes API behind typed errors; the only place that knows the client library."""
