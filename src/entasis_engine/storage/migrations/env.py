"""Runs the versions on the connection that `upgrade` was given, in its transaction. Alembic loads this file itself."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
