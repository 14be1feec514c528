"""The schema's history: one module per revision in ``versions``, run at the start of the hub.

Every revision expands first and contracts in a later release, so that a hub of the release before
still works beside it. There is no way back down.
"""
