"""``python -m benchmarks NAME [--json] [arguments of the benchmark]``."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path

INFRASTRUCTURE = frozenset(("__main__", "result"))


def names() -> list[str]:
    """Return the benchmarks there are: modules and packages beside this one that define ``run``."""
    directory = Path(__file__).parent
    return sorted(
        module.name
        for module in pkgutil.iter_modules([str(directory)])
        if module.name not in INFRASTRUCTURE
        and "\ndef run(" in _source(directory / module.name, module.ispkg)
    )


def _source(path: Path, package: bool) -> str:
    file = path / "__init__.py" if package else path.with_suffix(".py")
    return file.read_text(encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Run one benchmark and print its result; 2 for a wrong command line."""
    as_json = "--json" in arguments
    arguments = [argument for argument in arguments if argument != "--json"]
    known = names()
    if not arguments or arguments[0] not in known:
        print(f"usage: python -m benchmarks {{{','.join(known)}}} [--json]", file=sys.stderr)
        return 2
    module = importlib.import_module(f"benchmarks.{arguments[0]}")
    result = module.run(arguments[1:])
    print(result.to_json() if as_json else result.to_table())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
