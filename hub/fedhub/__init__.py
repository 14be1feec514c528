"""The hub: describes what every site of a federation shall run, and keeps the record of it."""
