"""The SQL floor of the hub and the portal: engine, transactions, column types, pages, statements.

It knows no table. The agent never imports it: its journal is SQLite without SQLAlchemy.

Public: ``engine.Database``, ``timing.DatabaseTiming``, ``cursors.page_of`` with ``Page``,
``columns``, ``statements``. ``errors`` is called by the engine alone.
"""
