"""The migrations, run by :mod:`hub.store.migrating`."""
