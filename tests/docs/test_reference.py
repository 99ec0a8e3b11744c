"""The reference names everything that the package exports, and all that its handles can do."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import rtpmix
import rtpmix.errors
import rtpmix.events

PAGES = sorted((Path(__file__).parents[2] / "docs/reference").glob("*.md"))
SERVER = (Path(__file__).parents[2] / "docs/reference/server.md").read_text()
BLOCK = re.compile(r"^\.\. autoclass:: rtpmix\.(\w+)\n((?: {3}:.*\n)*)", re.MULTILINE)
CLASSES: dict[str, str] = dict(BLOCK.findall(SERVER))


def test_every_exported_name_is_documented() -> None:
    assert PAGES
    text = "".join(page.read_text() for page in PAGES)
    modules = {*dir(rtpmix.errors), *dir(rtpmix.events)}  # documented as a whole
    missing = [
        name for name in rtpmix.__all__ if name not in modules and f"rtpmix.{name}" not in text
    ]
    assert missing == []


@pytest.mark.parametrize("name", CLASSES)
def test_what_a_handle_can_do_is_on_the_page_and_explained(name: str) -> None:
    """What only the library itself calls is left out by name; no such name is stale."""
    cls, options = getattr(rtpmix, name), CLASSES[name]
    found = re.search(r":exclude-members: (.*)", options)
    hidden = set(found[1].split(", ")) if found else set()
    inherited = ":inherited-members:" in options
    members = {
        member: value
        for member, value in inspect.getmembers(cls)
        if not member.startswith("_")
        and (isinstance(value, property) or inspect.isroutine(value))
        and any(
            member in base.__dict__ and base.__module__.startswith("rtpmix") for base in cls.mro()
        )
    }
    assert hidden <= members.keys(), f"not in {name}: {hidden - members.keys()}"
    for member in sorted(members.keys() - hidden):
        assert inherited or member in cls.__dict__, f"{name}.{member} is not on the page"
        value = members[member]
        assert inspect.getdoc(value.fget if isinstance(value, property) else value), member
