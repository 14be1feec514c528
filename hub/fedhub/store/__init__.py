"""The hub's memory in SQL: functions over a session, which flush and never commit."""
