"""The KubeFATE service of a site: its REST API, and the service itself."""
