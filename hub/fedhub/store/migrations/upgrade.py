"""Run the revisions from inside the process, on a connection that holds the migration lock."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection


def configuration() -> Config:
    """Describe where the revisions are; there is no alembic.ini."""
    config = Config()
    folder = str(Path(__file__).parent).replace("%", "%%")
    config.set_main_option("script_location", folder)
    config.set_main_option("path_separator", "os")
    return config


def upgrade(connection: Connection) -> None:
    """Bring the schema to the newest revision within the connection's transaction."""
    config = configuration()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def heads() -> tuple[str, ...]:
    """Return the newest revisions; more than one is a merge that went wrong."""
    return tuple(ScriptDirectory.from_config(configuration()).get_heads())
