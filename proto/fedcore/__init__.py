"""What every process shares beside the wire: errors, identifiers, clock, limits, logs, tasks."""
