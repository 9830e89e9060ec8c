"""Values are as the standard library's data classes are, in whatever can be seen of them."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import re
from collections.abc import Callable
from dataclasses import dataclass as standard
from dataclasses import field
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import pytest

from hub.values import dataclass as light

ROOT = Path(__file__).parents[2]
T = TypeVar("T")


def _classes(decorator: Any) -> dict[str, type[Any]]:
    @decorator(frozen=True, slots=True)
    class Plain:
        name: str
        number: int = 3
        secret: str = field(default="", repr=False)
        seen: int = field(default=0, compare=False)
        parts: tuple[str, ...] = field(default_factory=tuple)
        CONSTANT: ClassVar[int] = 7

    @decorator(frozen=True, slots=True)
    class One:
        """Of a single field."""

        name: str

    @decorator(frozen=True, slots=True)
    class Nothing:
        pass

    @decorator(frozen=True, slots=True)
    class Counted(Generic[T]):
        of: T
        twice: Any = field(init=False)
        fixed: int = field(init=False, default=5)
        made: list[int] = field(init=False, default_factory=list, hash=False)

        def __post_init__(self) -> None:
            object.__setattr__(self, "twice", (self.of, self.of))

    @decorator(frozen=True, slots=True)
    class Own:
        name: str
        kept: dict[str, int] = field(default_factory=dict, hash=False)

        def __repr__(self) -> str:
            return "own"

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Own) and self.name[0] == other.name[0]

        def __hash__(self) -> int:
            return 11

    @decorator(frozen=True, slots=True)
    class Child(Plain):  # type: ignore[misc, valid-type]  # the decorator is unknown here
        more: bool = False

    return {one.__name__: one for one in (Plain, One, Nothing, Counted, Own, Child)}


LIGHT, STANDARD = _classes(light), _classes(standard)
MADE: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "plain": ("Plain", lambda of: of("a")),
    "all given": ("Plain", lambda of: of("a", 4, secret="x", seen=2, parts=("b",))),
    "one field": ("One", lambda of: of("a")),
    "no field": ("Nothing", lambda of: of()),
    "filled by itself": ("Counted", lambda of: of("a")),
    "own methods": ("Own", lambda of: of("a", {"b": 1})),
    "inherited": ("Child", lambda of: of("a", more=True)),
}


@pytest.mark.parametrize("made", MADE)
def test_a_value_is_what_the_standard_library_makes_of_it(made: str) -> None:
    name, make = MADE[made]
    ours, theirs = make(LIGHT[name]), make(STANDARD[name])

    assert repr(ours) == repr(theirs)
    assert hash(ours) == hash(make(LIGHT[name]))
    assert dataclasses.asdict(ours) == dataclasses.asdict(theirs)
    assert [one.name for one in dataclasses.fields(ours)] == [one.name for one in dataclasses.fields(theirs)]
    assert type(ours).__match_args__ == type(theirs).__match_args__
    assert type(ours).__slots__ == type(theirs).__slots__
    assert not hasattr(ours, "__dict__")
    assert copy.copy(ours) == ours == copy.deepcopy(ours)
    assert ours != theirs or name == "Own"


def test_values_are_equal_by_what_is_compared() -> None:
    for plain in (LIGHT["Plain"], STANDARD["Plain"]):
        assert plain("a", seen=1) == plain("a", seen=2) != plain("b")
        assert len({plain("a", seen=1), plain("a", seen=2), plain("b")}) == 2
        assert plain("a") != "a"


@pytest.mark.parametrize("name", ["Plain", "Child"])
def test_a_value_never_changes(name: str) -> None:
    ours, theirs = LIGHT[name]("a"), STANDARD[name]("a")

    for change in (lambda one: setattr(one, "name", "b"), lambda one: delattr(one, "name")):
        said = []
        for value in (ours, theirs):
            with pytest.raises(dataclasses.FrozenInstanceError) as stop:
                change(value)
            said.append(str(stop.value))
        assert said[0] == said[1]
    assert dataclasses.replace(ours, name="b").name == "b"
    assert ours.name == "a"


@pytest.mark.parametrize("wrong", [((), {}), (("a", 1, "", 0, (), 9), {}), (("a",), {"other": 1})])
def test_what_does_not_fit_is_refused_in_the_same_words(wrong: tuple[tuple[Any, ...], dict[str, Any]]) -> None:
    said = []
    for plain in (LIGHT["Plain"], STANDARD["Plain"]):
        with pytest.raises(TypeError) as stop:
            plain(*wrong[0], **wrong[1])
        said.append(str(stop.value))

    assert said[0].replace("light", "") == said[1].replace("standard", "")


@light(frozen=True, slots=True)
class Sent:
    name: str


def test_a_value_can_be_sent_to_another_process() -> None:
    assert pickle.loads(pickle.dumps(Sent("a"))) == Sent("a")


def test_all_values_of_the_hub_load_fast() -> None:
    elsewhere = re.compile(r"^from dataclasses import .*\bdataclass\b", re.MULTILINE)
    found = [path.name for path in (ROOT / "hub").rglob("*.py") if elsewhere.search(path.read_text("utf-8"))]

    assert found == []
