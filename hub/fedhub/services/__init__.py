"""Use cases: one module per subject, one transaction per call, permission first.

Services are the only writers of events and, through ``planning.replan``, of documents.
"""
