"""Mappings of this deployment."""
