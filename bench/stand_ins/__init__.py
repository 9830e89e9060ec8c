"""Modules of the yardstick that are not the project's: put on its path one by one where they are not installed."""
