"""Where registrations are kept beyond a restart: a small protocol, and SQLite behind it.

The registrar's own table in memory is what is asked; a store is told what changed, and asked once,
at the start. So no call ever waits for a disk, and a store that fails costs no registration.

References
----------
RFC 3261 section 10.1 (location service)
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..errors import SipParseError, UsageError
from ..sip.bindings import Binding
from ..sip.flow import Flow
from ..sip.uri import SipUri, parse_uri

logger = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS bindings (
    aor TEXT NOT NULL, contact TEXT NOT NULL, expires_at REAL NOT NULL, q REAL NOT NULL,
    call_id TEXT NOT NULL, cseq INTEGER NOT NULL, instance TEXT, reg_id INTEGER,
    path TEXT NOT NULL, transport TEXT NOT NULL, remote_host TEXT NOT NULL,
    remote_port INTEGER NOT NULL, local_host TEXT NOT NULL, local_port INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS bindings_aor ON bindings (aor);
"""
_COLUMNS = 14


@dataclass(frozen=True, slots=True)
class Location:
    """All bindings of one address of record; `expires_at` in them is wall-clock time."""

    aor: str
    bindings: tuple[Binding, ...]


class LocationStore(Protocol):
    """Keeps locations. `load` and `close` may block: they are called off the event loop."""

    def load(self) -> Sequence[Location]:
        """Return what is kept.

        Raises
        ------
        UsageError
            When nothing can be kept here; it says why.
        """

    def save(self, location: Location) -> None:
        """Keep the bindings of one address of record in place of its former ones; never block."""

    def close(self) -> None:
        """Return when everything that was saved is safe."""

    def snapshot(self) -> dict[str, int]:
        """Count what was written, and what could not be."""


class MemoryLocations:
    """Keeps locations for as long as the program runs: for several servers in turn, and tests."""

    def __init__(self) -> None:
        self._kept: dict[str, Location] = {}

    def load(self) -> Sequence[Location]:
        """Return what is kept."""
        return list(self._kept.values())

    def save(self, location: Location) -> None:
        """Keep a location."""
        self._kept[location.aor] = location
        if not location.bindings:
            del self._kept[location.aor]

    def close(self) -> None:
        """Do nothing: what is in memory needs no more."""

    def snapshot(self) -> dict[str, int]:
        """Count the addresses of record."""
        return {"locations": len(self._kept)}


class SqliteLocations:
    """Keeps locations in an SQLite database, written by a thread of its own.

    What waits to be written is one location for each address of record, however often it changes,
    and what could not be written waits for the next attempt.

    Parameters
    ----------
    path
        Made, readable by its owner alone, where it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: dict[str, Location] = {}
        self._change = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._written = 0
        self._failures = 0
        self._unreadable = 0

    def load(self) -> Sequence[Location]:
        """Open the database and return what it holds.

        Raises
        ------
        UsageError
            When the file can't be opened or is no such database.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
            with closing(sqlite3.connect(self._path)) as database:
                database.executescript(_SCHEMA)
                rows = database.execute("SELECT * FROM bindings ORDER BY rowid").fetchall()
        except (OSError, sqlite3.Error) as exc:
            raise UsageError(
                f"can't keep registrations in {self._path}: {exc}; name another file, or none"
            ) from exc
        self._thread = threading.Thread(target=self._run, name="rtpmix-locations", daemon=True)
        self._thread.start()
        return self._locations(rows)

    def save(self, location: Location) -> None:
        """Hand a location to the thread."""
        with self._change:
            self._waiting[location.aor] = location
            self._change.notify()

    def close(self) -> None:
        """Write what waits, and end the thread."""
        with self._change:
            self._closing = True
            self._change.notify()
        if self._thread is not None:
            self._thread.join()

    def snapshot(self) -> dict[str, int]:
        """Count what was written, and what could not be."""
        with self._change:
            return {
                "locations_waiting": len(self._waiting),
                "locations_written": self._written,
                "location_failures": self._failures,
                "locations_unreadable": self._unreadable,
            }

    def _locations(self, rows: list[tuple[object, ...]]) -> list[Location]:
        found: dict[str, list[Binding]] = {}
        for row in rows:
            try:
                found.setdefault(str(row[0]), []).append(_binding(row))
            except (SipParseError, ValueError, TypeError):
                self._unreadable += 1  # written by another version, or by hand
        return [Location(aor, tuple(bindings)) for aor, bindings in found.items()]

    def _run(self) -> None:
        while True:
            with self._change:
                while not self._waiting and not self._closing:
                    self._change.wait()
                batch, self._waiting = self._waiting, {}
                last = self._closing
            if batch and not self._write(batch) and not last:
                with self._change:
                    self._waiting = batch | self._waiting
                    self._change.wait(5.0)
            if last:
                return

    def _write(self, batch: dict[str, Location]) -> bool:
        try:
            with closing(sqlite3.connect(self._path)) as database, database:
                for location in batch.values():
                    database.execute("DELETE FROM bindings WHERE aor = ?", (location.aor,))
                    database.executemany(
                        f"INSERT INTO bindings VALUES ({','.join('?' * _COLUMNS)})",
                        [_row(location.aor, binding) for binding in location.bindings],
                    )
        except sqlite3.Error as exc:
            self._failures += 1
            logger.error("registrations can't be written: %s", type(exc).__name__)
            return False
        self._written += len(batch)
        return True


def _row(aor: str, binding: Binding) -> tuple[object, ...]:
    flow = binding.flow
    row = (
        *(aor, str(binding.contact), binding.expires_at, binding.q, binding.call_id, binding.cseq),
        *(binding.instance, binding.reg_id, json.dumps(binding.path)),
        *(flow.transport, *flow.remote, *flow.local),
    )
    # Header text may hold bytes that are no UTF-8, as surrogates, which SQLite would refuse.
    return tuple(_kept(each) if isinstance(each, str) else each for each in row)


def _kept(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


def _told(text: str) -> str:
    return text.encode("latin-1").decode("utf-8", "surrogateescape")


def _binding(row: tuple[object, ...]) -> Binding:
    """Read one row.

    Raises
    ------
    SipParseError, ValueError, TypeError
        Where it is not what `_row` writes.
    """
    values = [_told(each) if isinstance(each, str) else each for each in row]
    _, contact, expires_at, q, call_id, cseq, instance, reg_id, path, transport = values[:10]
    remote_host, remote_port, local_host, local_port = values[10:]
    uri = parse_uri(str(contact))
    if not isinstance(uri, SipUri):
        raise ValueError("a contact is not a SIP URI")
    flow = Flow(
        str(transport),
        (str(remote_host), int(str(remote_port))),
        (str(local_host), int(str(local_port))),
    )
    return Binding(
        uri,
        flow,
        float(str(expires_at)),
        float(str(q)),
        str(call_id),
        int(str(cseq)),
        None if instance is None else str(instance),
        None if reg_id is None else int(str(reg_id)),
        tuple(str(each) for each in json.loads(str(path))),
    )
