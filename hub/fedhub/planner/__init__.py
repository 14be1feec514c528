"""Pure planning: intent and reports in, documents out. No I/O, no clock."""
