"""A generation in service and the next: who asks for a document in the moment of the swap gets it from the next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hub.config.process import ProcessSettings
from hub.daemon.generation import Generation, Generations
from hub.errors import Unavailable
from hub.inspection import Rejection
from hub.message import Incoming, MessageId, MessageType, new_id
from tests import rejections
from tests.leinen import PROFILE, Leinen, folder_out, leinen

ON_DISK = Rejection("", type=MessageType("leinen", "1.0", "anmeldung"))


def generation(folder: Path) -> Generation:
    deployment = Leinen(folder, {"nordheim": folder_out("out/nord")})
    deployment.file("schemas/xoev/leinen/1.0/profile.yaml", f"{PROFILE}receipt_with: {rejections.RECEIPT}\n")
    rejections.install(folder)
    deployment.routes["inbound"]["online"] |= {"on_accept": "standard", "rejected_by": rejections.OFFICE}
    settings = ProcessSettings(folder / "var", f"sqlite:///{folder}/var/hub.db", workers=1)
    return Generation(deployment.write(), settings, lambda: datetime.now(UTC), lambda: None, strict=False)


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Generation]:
    made = generation(tmp_path_factory.mktemp("serving"))
    yield made
    made.retire()


@pytest.fixture(scope="module")
def retired(tmp_path_factory: pytest.TempPathFactory) -> Generation:
    made = generation(tmp_path_factory.mktemp("retired"))
    made.retire()
    return made


def incoming() -> Incoming:
    return Incoming(
        body=leinen(), source="online", sender="portal", id=MessageId(new_id()), received_at=datetime.now(UTC)
    )


@dataclass
class Swapping(Generations):
    """Swapped just after somebody has looked."""

    former: Generation
    next: Generation
    looks: list[str] = field(default_factory=list)

    @property
    def current(self) -> Generation:  # type: ignore[override]  # a moment, not a place
        self.looks.append("look")
        return self.former if len(self.looks) == 1 else self.next


def test_a_receipt_is_built_by_the_generation_in_service(serving: Generation) -> None:
    built = Generations(serving).document(incoming(), ON_DISK)

    assert built
    assert b"quittung.1180" in built


def test_in_the_moment_of_the_swap_it_comes_from_the_next(serving: Generation, retired: Generation) -> None:
    built = Swapping(retired, serving).document(incoming(), ON_DISK)

    assert built
    assert b"quittung.1180" in built


def test_a_hub_that_closes_does_not_say_that_there_is_none(retired: Generation) -> None:
    with pytest.raises(Unavailable):
        Generations(retired).document(incoming(), ON_DISK)
