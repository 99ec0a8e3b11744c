"""The house rules that a program can check: directions of import, purity, sizes, links, names."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import rtpmix
from docs.rfc_table import render

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "rtpmix"

# Package or top-level module -> what of ours it may import. "rtpmix" is the public front door.
CORE = {
    "errors": set[str](),
    "rtp": {"errors"},
    "sdp": {"errors", "rtp", "audio"},
    "sip": {"errors"},
    "audio": {"errors"},
    "mixer": {"errors", "rtp", "audio"},
    "supervision": {"errors", "mixer"},
    "beat_gate": set[str](),
    "recorder": {"errors", "rtp", "audio", "beat_gate"},
}
SHELL = {
    "transports": {"errors"},
    "trunks": {"errors", "sip"},
    "config": {
        "audio",
        "errors",
        "rtp",
        "sdp",
        "sip",
        "transports",
        "trunks",
    },
    "events": {"errors", "mixer", "sip", "supervision"},  # sip: octets for programs (RFC 7433)
    "replay": {"audio", "errors", "mixer", "recorder"},
    "server": {*CORE, "config", "events", "transports", "trunks"},
    "testing": {*CORE, "config", "events", "server", "rtpmix"},
    "lab": {*CORE, "config", "events", "replay", "rtpmix", "testing"},
    "__init__": {*CORE, "config", "events", "server", "transports", "trunks"},
}
MAY_IMPORT = CORE | SHELL

# The sans-I/O core: time is an argument, and nothing waits.
PURE = ("errors", "audio", "rtp", "sdp", "sip", "mixer", "supervision")
CLOCKS = {"time", "datetime"}
WAITING = {"asyncio", "socket", "select", "selectors", "threading", "multiprocessing", "subprocess"}

LINES_HARD = 600
LINES_AIM = 400
FUNCTION_LINES = 60  # the aim is 40; past this a function has more than one job
LONG_MODULES = {  # past the aim, each with the reason why it is one subject
    "rtpmix/server/server.py": "the front door, mostly what each argument of it means",
}


def sources(part: str) -> list[Path]:
    """Return the modules of a package, or the one top-level module of that name."""
    single = PACKAGE / f"{part}.py"
    return [single] if single.is_file() else sorted((PACKAGE / part).rglob("*.py"))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported(path: Path) -> Iterator[str]:
    """Yield the absolute name of every module that a module imports, and of names from packages."""
    here = path.relative_to(ROOT).with_suffix("").parts
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(here[: len(here) - node.level]) if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            if origin == "rtpmix" and node.level:  # from .. import errors: a sibling each
                yield from (f"rtpmix.{alias.name}" for alias in node.names)
            else:
                yield origin


def ours(path: Path) -> set[str]:
    """Return the parts of rtpmix that a module imports; "rtpmix" for the front door itself."""
    names: set[str] = set()
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "rtpmix":
            names.add(parts[1] if len(parts) > 1 else "rtpmix")
    return names


def python_files(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    assert found, f"no Python in {folders}: this check would pass without looking"
    return found


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# -------------------------------------------------------------------------------- imports


def test_every_part_of_the_package_has_a_rule() -> None:
    parts = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert parts - {"__pycache__", "py"} <= MAY_IMPORT.keys() | {"__main__"}


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_imports_point_downwards(part: str) -> None:
    paths = sources(part)
    assert paths, f"no modules found in {part}: this test would pass without looking"
    for path in paths:
        wrong = ours(path) - MAY_IMPORT[part] - {part}
        assert not wrong, f"{name_of(path)} imports {sorted(wrong)}"


@pytest.mark.parametrize("part", PURE)
def test_the_core_reads_no_clock_and_waits_for_nothing(part: str) -> None:
    for path in sources(part):
        seen = {name.split(".")[0] for name in imported(path)}
        assert not seen & (WAITING | CLOCKS), f"{name_of(path)} imports {seen}"


@pytest.mark.parametrize("part", PURE)
def test_the_core_draws_no_randomness_of_its_own(part: str) -> None:
    """Randomness is handed in, so that the same seed gives the same bytes."""
    for path in sources(part):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                called = ast.unparse(node.func)
                drawn = re.match(r"(secrets|random|np\.random|os\.urandom)\b", called)
                assert not drawn or called == "random.Random", (
                    f"{name_of(path)}:{node.lineno} calls {called}"
                )


def test_importing_the_library_loads_neither_lab_nor_testing() -> None:
    code = (
        "import sys, rtpmix;"
        "unwanted = ('rtpmix.lab', 'rtpmix.testing', 'pytest');"
        "print([name for name in sys.modules if name.startswith(unwanted)])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"


# ---------------------------------------------------------------------------------- sizes


def test_no_module_outgrows_the_ceiling() -> None:
    lengths = {
        name_of(path): len(path.read_text(encoding="utf-8").splitlines())
        for path in python_files("rtpmix")
    }
    assert not {name: n for name, n in lengths.items() if n > LINES_HARD}
    assert lengths.keys() >= LONG_MODULES.keys()
    assert not {name for name, n in lengths.items() if n > LINES_AIM} - LONG_MODULES.keys()


def test_no_function_outgrows_the_ceiling() -> None:
    """Counted without the docstring, which may be as long as it is useful."""
    long = {}
    for path in python_files("rtpmix"):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) is not None else node.body
                lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0  # type: ignore[operator]
                if lines > FUNCTION_LINES:
                    long[f"{name_of(path)}:{node.name}"] = lines
    assert not long


def test_an_example_fits_on_a_screen() -> None:
    for path in python_files("examples"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 60, name_of(path)


# ------------------------------------------------------------------------------- manners


def test_nothing_is_unfinished_skipped_or_swallowed() -> None:
    marks = re.compile(
        r"\b(TODO|FIXME|XXX)\b|NotImplementedError|mark\.(skip|xfail)|pytest\.skip\("
    )
    exempt = {Path(__file__), ROOT / "tests/interop/conftest.py"}  # absent peers, away from CI
    for path in python_files("rtpmix", "examples", "benchmarks", "tests"):
        if path in exempt:
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            assert not marks.search(line), f"{name_of(path)}:{number}: {line.strip()}"
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ExceptHandler) and all(
                isinstance(step, ast.Pass) for step in node.body
            ):
                caught = ast.unparse(node.type) if node.type else "everything"
                assert caught not in {"everything", "Exception", "BaseException"}, (
                    f"{name_of(path)}:{node.lineno} swallows {caught}"
                )


def is_virtual(path: Path) -> bool:
    """Tell whether a test runs on the virtual loop, of itself or through a helper in tests/."""
    for name in imported(path):
        helper = ROOT.joinpath(*name.split(".")).with_suffix(".py")
        if name.startswith("rtpmix.testing"):
            return True
        if name.startswith("tests.") and helper.is_file() and is_virtual(helper):
            return True
    return False


def test_tests_wait_in_virtual_time() -> None:
    """A wall-clock sleep makes a test slow and racy; real peers and benchmarks have no choice."""
    real = ("tests/interop/", "tests/benchmarks/")
    for path in python_files("tests"):
        if name_of(path).startswith(real):
            continue
        virtual = is_virtual(path)
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "sleep":
                in_virtual_time = virtual and ast.unparse(node.func) == "asyncio.sleep"
                assert in_virtual_time, f"{name_of(path)}:{node.lineno} waits in real time"


def test_every_module_says_what_it_is() -> None:
    for path in python_files("rtpmix", "examples", "benchmarks", "tests"):
        text = path.read_text(encoding="utf-8").strip()
        assert not text or ast.get_docstring(tree(path)), f"{name_of(path)} has no docstring"


# ------------------------------------------------------------------------ names and links


def test_every_public_name_is_documented() -> None:
    reference = "\n".join(
        path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs/reference").glob("*.md"))
    )
    assert rtpmix.__all__, "no public names: this test would pass without looking"
    for name in rtpmix.__all__:
        assert re.search(rf"\b{name}\b", reference), f"docs/reference does not mention {name}"
        subject = getattr(rtpmix, name)
        if inspect.isclass(subject) or callable(subject):
            assert subject.__doc__, f"rtpmix.{name} has no docstring"


def test_public_methods_say_what_they_do() -> None:
    for name in rtpmix.__all__:
        subject = getattr(rtpmix, name)
        if not inspect.isclass(subject) or not subject.__module__.startswith("rtpmix"):
            continue
        for attribute, value in vars(subject).items():
            if attribute.startswith("_"):
                continue
            if inspect.isfunction(value) or isinstance(value, property | classmethod):
                assert inspect.getdoc(value), f"rtpmix.{name}.{attribute} has no docstring"


def test_the_version_is_said_once_and_the_same() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert rtpmix.__version__ == project["version"]
    assert rtpmix.Config().user_agent == f"rtpmix/{project['version']}"


LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def documents() -> list[Path]:
    pages = sorted((ROOT / "docs").rglob("*.md"))
    assert pages, "no pages found"
    return [ROOT / "README.md", *(page for page in pages if "_build" not in page.parts)]


def test_links_in_the_documents_lead_somewhere() -> None:
    seen = 0
    for page in documents():
        text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
        for target in LINK.findall(text):
            if re.match(r"[a-z]+:|#", target):
                continue
            seen += 1
            path = page.parent / target.partition("#")[0]
            assert path.exists(), f"{name_of(page)} links to {target}, which does not exist"
    assert seen, "no links found: this test would pass without looking"


def test_the_rfc_table_is_what_the_citations_say() -> None:
    """docs/rfc.md is generated; `make rfc` writes it anew after a citation was added."""
    page = (ROOT / "docs/rfc.md").read_text(encoding="utf-8")
    assert render() == page, "docs/rfc.md is out of date: run `make rfc`"
    named = set(re.findall(r"`((?:rtpmix|tests)/[^`]+\.py)`", page))
    assert named, "no modules found in docs/rfc.md"
    for name in named:
        assert (ROOT / name).is_file(), f"docs/rfc.md names {name}, which does not exist"
