"""The command line: REST alone, nothing of the hub imported."""
