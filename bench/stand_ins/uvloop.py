"""Stands in for uvloop where it is not installed: asyncio's own loop, which the hub runs on as well."""

from asyncio import new_event_loop

__all__ = ["new_event_loop"]
