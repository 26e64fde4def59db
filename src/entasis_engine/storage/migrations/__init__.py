"""The tables of the ledger, version after version, and how a database is brought to the newest.

To change a table: change it in `portfolio/sql.py` and add a file to `versions/` that names the last one as its
`down_revision`. A test compares what the versions come to with what the code declares.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.script.revision import ResolutionError
from alembic.util import CommandError
from sqlalchemy import Connection, text

LOCK = 0x656E_7461_7369_7300
"""Number of the lock on PostgreSQL that lets one engine at a time change tables; "entasis" in letters."""


class NewerError(Exception):
    """A database of a version that this program does not know."""


def upgrade(connection: Connection) -> None:
    """Bring the tables up to date, within the connection's transaction: all of it or nothing.

    Raises `NewerError` where they are ahead.
    """
    if connection.dialect.name == "postgresql":
        # Until the transaction ends. Whoever waits here finds the work done; a table that is missing cannot be locked.
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    config = _config()
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        if isinstance(error.__cause__, ResolutionError):
            raise NewerError from error
        raise


def head() -> str | None:
    """The newest version."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
