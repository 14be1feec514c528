"""One module per thing that people do; each parses, calls, prints."""
