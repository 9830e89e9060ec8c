"""What the tests of the command line share."""

from pathlib import Path

import pytest

from tests.command import Office, command, new_office


@pytest.fixture(scope="session")
def office_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A deployment that ``xoev-hub init`` has made and ``check`` has found good."""
    folder = tmp_path_factory.mktemp("template") / "office"
    assert command("init", str(folder)).code == 0
    assert command("-c", str(folder / "routes.yaml"), "check").code == 0
    return folder


@pytest.fixture
def office(tmp_path: Path, office_template: Path) -> Office:
    return new_office(tmp_path / "office", office_template)
