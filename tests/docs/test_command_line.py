"""The page on the command line has every command and option, and no others."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from rtpmix.lab.cli import parser

PAGE = (Path(__file__).parents[2] / "docs/reference/command-line.md").read_text(encoding="utf-8")


def commands(top: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield every command that does something, by its full name."""
    nested = [a.choices for a in top._actions if isinstance(a.choices, dict)]
    if not nested:
        yield top.prog, top
    for choices in nested:
        for each in choices.values():
            yield from commands(each)


def test_the_page_has_every_command_and_option() -> None:
    found = dict(commands(parser()))
    assert len(found) > 10, "next to no commands found: this test would pass without looking"
    options = set()
    for name, command in found.items():
        assert re.search(rf"{name}\b", PAGE), f"the page lacks {name}"
        options |= {text for a in command._actions for text in a.option_strings if text[1] == "-"}
    for option in options - {"--help"}:
        assert option in PAGE, f"the page lacks {option}"
    on_the_page = set(re.findall(r"--[a-z][a-z-]+", PAGE))
    assert on_the_page <= options, f"there are no options {on_the_page - options}"
