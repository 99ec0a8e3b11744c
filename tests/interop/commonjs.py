"""Puts a CommonJS module and all that it requires into one script for a page, as bundlers do."""

from __future__ import annotations

import json
import re
from pathlib import Path

_REQUIRE = re.compile(r"""\brequire\(\s*['"]([^'"]+)['"]\s*\)""")
_LOADER = """"use strict";
const %s = ((modules, names) => {
  const loaded = new Map();
  const load = (path) => {
    if (!loaded.has(path)) {
      const module = { exports: {} };
      loaded.set(path, module);
      modules[path](module, module.exports, (name) => load(names[path][name]));
    }
    return loaded.get(path).exports;
  };
  return load(%s);
})({
%s
}, %s);
"""


def bundle(entry: Path, *, name: str) -> str:
    """Return a script that defines `name` as what the module exports.

    Parameters
    ----------
    entry
        A file in a folder ``node_modules``, where the packages that it requires are.
    """
    names: dict[str, dict[str, str]] = {}
    bodies: dict[str, str] = {}
    waiting = [entry.resolve()]
    while waiting:
        path = waiting.pop()
        if str(path) in bodies:
            continue
        text = path.read_text()
        bodies[str(path)] = f"module.exports = {text};" if path.suffix == ".json" else text
        required = set() if path.suffix == ".json" else set(_REQUIRE.findall(text))
        found = {wanted: _resolve(wanted, path) for wanted in required}
        names[str(path)] = {wanted: str(at) for wanted, at in found.items()}
        waiting += found.values()
    modules = ",\n".join(
        f"{json.dumps(path)}: (module, exports, require) => {{\n{body}\n}}"
        for path, body in bodies.items()
    )
    return _LOADER % (name, json.dumps(str(entry.resolve())), modules, json.dumps(names))


def _resolve(wanted: str, by: Path) -> Path:
    """Return the file of a required module: a package's is that for browsers, if it has one."""
    if wanted.startswith("."):
        return _file(by.parent / wanted)
    root = next(folder for folder in by.parents if folder.name == "node_modules")
    package = root / wanted
    facts = json.loads((package / "package.json").read_text())
    main = facts.get("browser") or facts.get("main") or "index.js"
    return _file(package / main)


def _file(path: Path) -> Path:
    tries = (path, path.with_name(f"{path.name}.js"), path / "index.js")
    found = next((each for each in tries if each.is_file()), None)
    if found is None:
        raise FileNotFoundError(f"no module {path}")
    return found.resolve()
