"""The FATE releases that this hub can deploy, as data."""
