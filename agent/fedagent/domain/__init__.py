"""What the agent thinks: documents, observations, plans, policy and diagnosis. No I/O, no clock."""
