"""Run by Alembic for each of its commands, on the connection that :mod:`gw.store.migrate` hands it."""

from __future__ import annotations

from alembic import context

from gw.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite changes a table by copying it.
    render_as_batch=True,
)
context.run_migrations()
