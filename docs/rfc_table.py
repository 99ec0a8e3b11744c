"""Write docs/rfc.md: which section of which RFC is implemented where, and tested by what.

The table is read off the citations in the sources, so that it can't promise more than the code
says of itself. A module or test cites a section as ``RFC 3261 section 17.2.1`` or, several at a
time, as ``RFC 3261 sections 18.2.1, 17.2.3 and 8.2.6``. A section that no test cites is listed with
the test module that belongs to its module by name.

``python docs/rfc_table.py --write`` writes the page, without ``--write`` it prints it.
``docs/rfc_titles.tsv`` gives the titles; a section without one is listed with an empty title.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "rfc.md"
TITLES = ROOT / "docs" / "rfc_titles.tsv"

Section = tuple[int, str]  # RFC number; "17.2.1", "figure 7", or "" for the RFC as a whole
Places = dict[Section, set[str]]

HEAD = """\
# Which RFC, where, tested by what

Written by `make rfc` from the citations in the sources; a test keeps it current. A section that is
not listed is not claimed.
"""

NUMBER = r"(?:\d+|[A-Z])(?:\.\d+)*\b"
REMARK = r"(?:\s*\([^()]*\))?"  # as in: sections 7.3.1 (no name twice) and 25.1
CITATION = re.compile(
    r"\bRFC (?P<rfc>\d{3,5})(?:'s)?,?"
    r"(?: (?P<kind>sections?|figures?|tables?|appendix)(?= [\dA-Z]))?"
    rf"(?P<numbers>(?: {NUMBER}{REMARK})(?:(?:,| and|, and) {NUMBER}(?! [\w-]+s\b){REMARK})*)?"
)


def citations(text: str) -> set[Section]:
    """Return the sections that a source file cites.

    Comments and docstrings may break a citation over two lines.
    """
    text = re.sub(r"\s*\n\s*(#:? )?", " ", text)
    found: set[Section] = set()
    for match in CITATION.finditer(text):
        rfc = int(match["rfc"])
        kind = (match["kind"] or "section").removesuffix("s")
        bare = re.sub(r"\([^()]*\)", "", match["numbers"] or "")
        numbers = re.findall(NUMBER, bare) if match["kind"] or "." in bare else []
        prefix = "" if kind == "section" else f"{kind} "
        found |= {(rfc, prefix + number) for number in numbers}
        if not numbers:
            found.add((rfc, ""))
    return found


def gather(folder: str) -> Places:
    """Return where each section is cited in the Python files below a folder."""
    places: Places = defaultdict(set)
    for path in sorted((ROOT / folder).rglob("*.py")):
        for section in citations(path.read_text(encoding="utf-8")):
            places[section].add(path.relative_to(ROOT).as_posix())
    return places


def belonging_test(module: str) -> str | None:
    """Return the test module that has the same path as a module, if there is one."""
    path = Path("tests", *Path(module).parts[1:-1], f"test_{Path(module).name}")
    return path.as_posix() if (ROOT / path).is_file() else None


def order(section: Section) -> tuple[int, list[tuple[int, str]]]:
    parts = re.split(r"[. ]", section[1])
    return section[0], [(int(part), "") if part.isdigit() else (999, part) for part in parts]


def read_titles() -> dict[Section, str]:
    rows = (line.split("\t") for line in TITLES.read_text(encoding="utf-8").splitlines())
    return {(int(rfc), section): title for rfc, section, title in rows}


def row(section: Section, title: str, modules: set[str], tests: set[str]) -> str:
    rfc, number = section
    anchor = number if re.match(r"(\d|[A-Z]\b)", number) else ""
    place = "appendix" if anchor[:1].isalpha() else "section"
    link = f"https://www.rfc-editor.org/rfc/rfc{rfc}" + (f"#{place}-{anchor}" if anchor else "")
    tests = tests or {test for module in modules if (test := belonging_test(module))}
    cells = [
        f"[{number or 'as a whole'}]({link})",
        title if number else "",
        "<br>".join(f"`{name}`" for name in sorted(modules)),
        "<br>".join(f"`{name}`" for name in sorted(tests)),
    ]
    return "| " + " | ".join(cells) + " |"


def render() -> str:
    """Return the page."""
    modules, tests, titles = gather("rtpmix"), gather("tests"), read_titles()
    lines = [HEAD.rstrip()]
    last = 0
    by_section = {rfc for rfc, number in modules if number}
    for section in sorted(modules, key=order):
        if not section[1] and section[0] in by_section:
            continue  # "RFC 3261" in passing says nothing beside its sections
        if section[0] != last:
            last = section[0]
            name = titles.get((last, ""), "")
            lines += ["", f"## RFC {last}{': ' if name else ''}{name}", ""]
            lines += ["| Section | Title | Module | Test |", "|---|---|---|---|"]
        lines.append(
            row(section, titles.get(section, ""), modules[section], tests.get(section, set()))
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        PAGE.write_text(render(), encoding="utf-8")
    else:
        sys.stdout.write(render())
