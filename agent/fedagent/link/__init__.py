"""The way to the hub: join with a token, dial, stream, resume. Knows the journal, not reconcile."""
