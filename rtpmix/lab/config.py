"""The lab's configuration: a TOML file, read and checked once; see ``examples/lab.toml``."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import rtpmix
from rtpmix import UsageError

ROLES = ("agent", "supervisor")
SERVER_KEYS = (
    "sip_listen",
    "media_address",
    "rtp_ports",
    "realm",
    "require_login",
    "media_timeout_s",
    "record",
    "recordings",
    "key_file",
)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
EXTENSION = re.compile(r"[0-9]{1,15}")


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Somebody with a telephone."""

    name: str
    password: str = field(repr=False)
    extension: str | None = None
    roles: frozenset[str] = frozenset()

    @property
    def may_supervise(self) -> bool:
        """Whether the feature codes and the supervision commands are theirs."""
        return "supervisor" in self.roles


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueConfig:
    """A line that customers call and agents answer."""

    name: str
    extension: str | None = None
    agents: tuple[str, ...] = ()
    ring_s: float = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LabConfig:
    """What a lab server needs to know."""

    server: rtpmix.Config
    users: Mapping[str, User]
    queues: Mapping[str, QueueConfig]
    recordings: Path = Path("recordings")
    record: bool = True

    def user_called(self, number: str) -> User | None:
        """Return the user with this name or extension."""
        if number in self.users:
            return self.users[number]
        return next((user for user in self.users.values() if user.extension == number), None)

    def queue_called(self, number: str) -> QueueConfig | None:
        """Return the queue with this name or extension."""
        if number in self.queues:
            return self.queues[number]
        return next((queue for queue in self.queues.values() if queue.extension == number), None)


def load(path: Path) -> LabConfig:
    """Read a configuration file.

    Raises
    ------
    UsageError
        The file can't be read, is no TOML, or says something that can't be; names the place.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text") from error
    except OSError as error:
        raise UsageError(f"can't read {path}: {error.strerror}") from error
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: {error}") from error
    try:
        return parse(table, path.parent)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def parse(table: Mapping[str, Any], folder: Path = Path()) -> LabConfig:
    """Check a parsed file; relative paths in it start from ``folder``."""
    _known(table, "the file", ("server", "users", "queues"))
    users = {name: _user(name, entry) for name, entry in _tables(table, "users").items()}
    queues = {name: _queue(name, entry) for name, entry in _tables(table, "queues").items()}
    _check_numbers(users, queues)
    for queue in queues.values():
        for agent in queue.agents:
            if agent not in users:
                raise UsageError(f"queues.{queue.name}: agent {agent!r} is no user of this file")
    server = _one_table(table, "server")
    _known(server, "server", SERVER_KEYS)
    return LabConfig(
        server=_server_config(server, users, folder),
        users=MappingProxyType(users),
        queues=MappingProxyType(queues),
        recordings=folder / Path(_text(server, "recordings", "server", "recordings")).expanduser(),
        record=_flag(server, "record", "server", default=True),
    )


def demo(token: Callable[[], str], *, sip_listen: tuple[str, ...] | None = None) -> LabConfig:
    """Return the configuration of ``rtpmix lab`` without a file.

    Passwords are drawn with ``token``: nobody on the network knows a well-known one.
    """
    listens = {} if sip_listen is None else {"sip_listen": list(sip_listen)}
    people = {
        "alice": {"extension": "101", "roles": ["agent"]},
        "bob": {"extension": "102", "roles": ["agent"]},
        "carla": {"extension": "103", "roles": ["agent"]},
        "coach": {"extension": "201", "roles": ["supervisor"]},
    }
    return parse(
        {
            "server": {"realm": "rtpmix", **listens},
            "users": {name: {**entry, "password": token()} for name, entry in people.items()},
            "queues": {"support": {"extension": "600", "agents": ["alice", "bob", "carla"]}},
        }
    )


# ----------------------------------------------------------------------------- parts


def _user(name: str, entry: Mapping[str, Any]) -> User:
    where = f"users.{name}"
    _known(entry, where, ("password", "extension", "roles"))
    if not NAME.fullmatch(name):
        raise UsageError(f"{where}: a user name is letters, digits, '.', '_' and '-'")
    roles = _texts(entry, "roles", where)
    for role in roles:
        if role not in ROLES:
            raise UsageError(f"{where}: unknown role {role!r}; the roles are {', '.join(ROLES)}")
    password = _text(entry, "password", where)
    if not password:
        raise UsageError(f"{where} has no password: give it one")
    return User(
        name=name,
        password=password,
        extension=_extension(entry, where),
        roles=frozenset(roles),
    )


def _queue(name: str, entry: Mapping[str, Any]) -> QueueConfig:
    where = f"queues.{name}"
    _known(entry, where, ("extension", "agents", "ring_s"))
    if not NAME.fullmatch(name):
        raise UsageError(f"{where}: a queue's name is letters, digits, '.', '_' and '-'")
    ring_s = entry.get("ring_s", 20)
    if isinstance(ring_s, bool) or not isinstance(ring_s, int | float) or not 1 <= ring_s <= 180:
        raise UsageError(f"{where}: ring_s is a number of seconds from 1 to 180, not {ring_s!r}")
    return QueueConfig(
        name=name,
        extension=_extension(entry, where),
        agents=tuple(_texts(entry, "agents", where)),
        ring_s=float(ring_s),
    )


def _server_config(
    entry: Mapping[str, Any], users: Mapping[str, User], folder: Path
) -> rtpmix.Config:
    values: dict[str, Any] = {}
    if "sip_listen" in entry:
        values["sip_listen"] = tuple(_texts(entry, "sip_listen", "server"))
    if "media_address" in entry:
        values["media_address"] = _text(entry, "media_address", "server")
    if "rtp_ports" in entry:
        values["rtp_ports"] = _ports(entry["rtp_ports"])
    if "key_file" in entry:
        key_file = Path(_text(entry, "key_file", "server")).expanduser()
        values["recording_key"] = folder / key_file
    timeout = entry.get("media_timeout_s", 30)
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise UsageError(f"server: media_timeout_s is a number of seconds, not {timeout!r}")
    return rtpmix.Config(
        users={user.name: user.password for user in users.values()},
        realm=_text(entry, "realm", "server", "rtpmix"),
        require_login=_flag(entry, "require_login", "server", default=False),
        media_timeout_s=float(timeout),
        **values,
    )


def _check_numbers(users: Mapping[str, User], queues: Mapping[str, QueueConfig]) -> None:
    """Refuse a number that would mean two things."""
    owners: dict[str, str] = {}
    for kind, things in (("user", users), ("queue", queues)):
        for name, thing in things.items():
            for number in {name, thing.extension or name}:
                owner = f"{kind} {name}"
                if owners.setdefault(number, owner) != owner:
                    raise UsageError(f"{number!r} is both {owners[number]} and {owner}")


# ------------------------------------------------------------------------------ values


def _known(entry: Mapping[str, Any], where: str, keys: tuple[str, ...]) -> None:
    for key in entry:
        if key not in keys:
            raise UsageError(f"{where}: unknown key {key!r}; known are {', '.join(keys)}")


def _one_table(table: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    entry = table.get(name, {})
    if not isinstance(entry, dict):
        raise UsageError(f"{name} is a table: write [{name}]")
    return entry


def _tables(table: Mapping[str, Any], name: str) -> Mapping[str, Mapping[str, Any]]:
    entries = _one_table(table, name)
    for key, entry in entries.items():
        if not isinstance(entry, dict):
            raise UsageError(f"{name}.{key} is a table: write [{name}.{key}]")
    return entries


def _text(entry: Mapping[str, Any], key: str, where: str, default: str = "") -> str:
    value = entry.get(key, default)
    if not isinstance(value, str):
        raise UsageError(f"{where}: {key} is a text in quotes, not {value!r}")
    return value


def _texts(entry: Mapping[str, Any], key: str, where: str) -> list[str]:
    value = entry.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise UsageError(f'{where}: {key} is a list of texts, such as ["one", "two"]')
    return value


def _flag(entry: Mapping[str, Any], key: str, where: str, *, default: bool) -> bool:
    value = entry.get(key, default)
    if not isinstance(value, bool):
        raise UsageError(f"{where}: {key} is true or false, not {value!r}")
    return value


def _extension(entry: Mapping[str, Any], where: str) -> str | None:
    if "extension" not in entry:
        return None
    value = _text(entry, "extension", where)
    if not EXTENSION.fullmatch(value):
        raise UsageError(f"{where}: an extension is up to 15 digits in quotes, not {value!r}")
    return value


def _ports(value: Any) -> range:
    whole = isinstance(value, list) and len(value) == 2 and all(type(port) is int for port in value)
    if not whole:
        raise UsageError(f"server: rtp_ports is [first, last], not {value!r}")
    return range(value[0], value[1] + 1)
