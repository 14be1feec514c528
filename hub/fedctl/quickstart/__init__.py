"""The quickstart: a hub, simulated sites and a federation on this machine, in one process tree."""
