"""Runs the migrations on the connection that :mod:`hub.store.migrating` hands over, in its transaction."""

from __future__ import annotations

from alembic import context

from hub.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
