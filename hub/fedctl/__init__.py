"""The command line: everything that people do with a hub, over its REST API alone."""
