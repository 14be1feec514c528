"""Observe, plan, act, report, for ever: one worker for each resource of the site."""
