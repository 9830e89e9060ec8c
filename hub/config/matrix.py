"""Who is served with what: municipality × service, as ``check --matrix`` prints it."""

from __future__ import annotations

from hub.config.lookup import destination_for
from hub.deployment import Deployment

GAP = "-"


def matrix(deployment: Deployment) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the head and one row per municipality.

    A cell says ``own`` for a destination of the municipality itself, ``via NAME`` for that of somebody whose member it
    is, and ``-`` for a gap.
    """
    services = sorted({one.service for one in deployment.destinations.values() if one.municipality})
    rows = [
        (key, municipality.name, *(_cell(deployment, key, service) for service in services))
        for key, municipality in sorted(deployment.municipalities.items())
    ]
    return ("municipality", "name", *services), rows


def _cell(deployment: Deployment, key: str, service: str) -> str:
    found = destination_for(deployment.municipalities, deployment.destinations, key, service)
    if not found:
        return GAP
    if found == (f"{key}/{service}",):
        return "own"
    return " or ".join(f"via {name.partition('/')[0]}" for name in found)
