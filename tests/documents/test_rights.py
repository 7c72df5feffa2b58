"""The documents have each role's rights as a line to copy, and say of each what it is for; the suite tries them."""

import re
from pathlib import Path

import pytest

from papyra_streams_contract.rights import DASHBOARD, EVERYTHING, PROBE, ROLES, Role

PAGE = (Path(__file__).parents[2] / "docs" / "pages" / "security.md").read_text(encoding="utf-8")
COMMAND = re.compile(r"`([A-Z ]+)`")
SECTION = re.compile(r"^### ([^\n]+)\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
SECTIONS = dict(SECTION.findall(PAGE))


def line(role: Role, *, readable: bool = False) -> str:
    """Return what is to be typed."""
    return f"ACL SETUSER {role.name} reset {' '.join(role.line(password='secret', readable=readable))}"


def section_of(role: Role) -> str:
    section: str = SECTIONS[role.name.removeprefix("orders-").title()]
    return section


def explained(role: Role) -> list[str]:
    """Return the commands of a role's table, as rights are written."""
    rows = [row.split("|")[1] for row in section_of(role).splitlines() if row.startswith("| `")]
    return [name.lower().replace(" ", "|") for row in rows for name in COMMAND.findall(row)]


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_the_line_of_a_role_is_in_its_section(role: Role) -> None:
    assert line(role) in section_of(role).splitlines()


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_right_of_a_role_has_a_reason_and_no_other_has(role: Role) -> None:
    assert sorted(explained(role)) == sorted({*role.commands, *role.optional})


def test_the_line_with_keys_that_may_be_read_alone_is_in_its_section() -> None:
    assert line(DASHBOARD, readable=True) in section_of(DASHBOARD).splitlines()


def test_the_line_of_a_system_that_does_everything_is_there() -> None:
    assert line(EVERYTHING) in SECTIONS["All of them"].splitlines()


def test_the_key_that_claiming_reads_are_found_out_with_is_told() -> None:
    assert f"`~{PROBE}`" in PAGE
