"""Who is connected, documents out, statuses and events in: the hub's side of every session."""
