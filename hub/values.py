"""Values that load fast: ``@dataclass(frozen=True, slots=True)``, as the standard library makes it, for two thirds.

That one compiles six methods for each class, and every command makes some hundred classes anew. To show, compare and
hash a value needs no code of its own: here that is the same few lines for all. It does the same, and a test says so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(cls: Any = None, /, *, frozen: bool = False, slots: bool = False, **more: Any) -> Any:
        """Return the class as a data class, or what makes it one; the standard library makes what is no plain value."""
        plain = frozen and slots and not more
        make = _value if plain else partial(dataclasses.dataclass, frozen=frozen, slots=slots, **more)
        return make if cls is None else make(cls)


__all__ = ["dataclass"]


def _value(cls: type[Any]) -> type[Any]:
    own = dict(cls.__dict__)
    cls.__doc__ = cls.__doc__ or cls.__name__  # else it is made of a signature, which is dear
    made: Any = dataclasses.dataclass(frozen=True, slots=True, repr=False, eq=False)(cls)
    made.__dataclass_params__.repr = made.__dataclass_params__.eq = True  # as it is now
    fields = dataclasses.fields(made)
    if "__repr__" not in own:
        made.__repr__ = _repr([one.name for one in fields if one.repr])
    if "__eq__" not in own:
        made.__eq__ = _eq([one.name for one in fields if one.compare])
    if own.get("__hash__") is None:
        made.__hash__ = _hash([one.name for one in fields if (one.compare if one.hash is None else one.hash)])
    return made  # type: ignore[no-any-return]  # the class itself


def _repr(names: Sequence[str]) -> Callable[[Any], str]:
    def __repr__(self: Any) -> str:  # noqa: N807  the name is seen in traces
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    return __repr__


def _eq(names: Sequence[str]) -> Callable[[Any, object], bool]:
    compared = _getter(names)

    def __eq__(self: Any, other: object) -> bool:  # noqa: N807
        return compared(self) == compared(other) if other.__class__ is self.__class__ else NotImplemented

    return __eq__


def _hash(names: Sequence[str]) -> Callable[[Any], int]:
    hashed = _getter(names)
    return lambda self: hash(hashed(self))


def _getter(names: Sequence[str]) -> Callable[[Any], Any]:
    return attrgetter(*names) if names else lambda _: ()
