"""The tables of the ledger, version after version, and how a database is brought to the newest.

To change a table: change it in `portfolio/sql.py`, add a file to `versions/` that names the last one as its
`down_revision`, and name it as `HEAD`. Tests compare what the versions come to with what the code declares.

Alembic is imported only where there is something to do: most starts find the newest version, and should be quick.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

HEAD = "ledger_0001"
"""The newest version."""
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
    if _version(connection) != HEAD:
        _migrate(connection)


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _migrate(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415 - see above; so are the others
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script.revision import ResolutionError  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        if isinstance(error.__cause__, ResolutionError):
            raise NewerError from error
        raise
