"""What the agent says to its hub, over ``fedlink``. It knows the journal, not reconcile."""
