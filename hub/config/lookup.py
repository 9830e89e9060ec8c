"""Which destination ``{municipality}/SERVICE`` means: the most specific one that has it.

A municipality is a member of those that name it in ``members`` (by key or AGS), and of the county whose five digits its
AGS begins with. Wittingen's own trade office comes before Gifhorn's; Gifhorn's building office serves both.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping

from hub.deployment import Municipality

COUNTY_DIGITS = 5


def destination_for(
    municipalities: Mapping[str, Municipality], destinations: Container[str], key: str, service: str
) -> tuple[str, ...]:
    """Return the names of the most specific candidates; none is a gap, more than one is a tie."""
    own = f"{key}/{service}"
    if own in destinations:
        return (own,)
    municipality = municipalities.get(key)
    if municipality is None:
        return ()
    having = [one for one in municipality.part_of if f"{one}/{service}" in destinations]
    narrow = [one for one in having if not any(one in municipalities[other].part_of for other in having)]
    # Two that are members of each other: neither is narrower, both stay.
    return tuple(f"{one}/{service}" for one in narrow or having)


def part_of(municipalities: Iterable[Municipality]) -> dict[str, tuple[str, ...]]:
    """Return for each municipality the keys of those whose member it is."""
    known = list(municipalities)
    by_ags = {one.ags: one.key for one in known}
    keys = {one.key for one in known}
    around: dict[str, dict[str, None]] = {one.key: {} for one in known}
    for one in known:
        for member in one.members:
            target = member if member in keys else by_ags.get(member)
            if target is not None and target != one.key:
                around[target][one.key] = None
    for one in known:
        county = by_ags.get(one.ags[:COUNTY_DIGITS]) if len(one.ags) > COUNTY_DIGITS else None
        if county is not None and county != one.key:
            around[one.key][county] = None
    return {key: tuple(found) for key, found in around.items()}
