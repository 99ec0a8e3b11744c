"""The programs in the documentation run."""

from __future__ import annotations

import ast
import importlib
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from rtpmix.lab import config

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (\w+)\.py\n")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> list[str]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder that modules are imported from, and forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) is not None and str(
            sys.modules[name].__file__
        ).startswith(str(tmp_path)):
            del sys.modules[name]


def test_the_tutorial_works_step_by_step(folder: Path) -> None:
    """Each block names its file in its first line; a block of tests is run where it stands.

    So every test passes with the program as the reader has it at that point.
    """
    steps = 0
    for block in blocks(ROOT / "docs/tutorial.md"):
        name = FILE.match(block)
        assert name, f"a block of the tutorial names no file: {block[:60]!r}"
        (folder / f"{name[1]}.py").write_text(block, encoding="utf-8")
        for stale in {name[1], "line"} & sys.modules.keys():
            del sys.modules[stale]
        importlib.invalidate_caches()
        module = importlib.import_module(name[1])
        for test in [value for key, value in vars(module).items() if key.startswith("test_")]:
            test()
            steps += 1
    assert steps >= 4, "the tutorial tested next to nothing"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_python_block_is_python(page: Path) -> None:
    """Fragments may use names from the text around them, but not another language."""
    for block in blocks(page):
        compile(block, str(page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_there_are_blocks_to_check() -> None:
    assert sum(len(blocks(page)) for page in PAGES) > 10


def test_the_labs_configuration_in_the_reference_is_one() -> None:
    page = (ROOT / "docs/reference/lab.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    lab = config.parse(tomllib.loads(text))
    assert lab.user_called("201") is lab.users["coach"]
    for key in config.SERVER_KEYS:
        assert key in page, f"the reference lacks server.{key}"
