"""The configuration file: what it means, and one clear sentence for each thing that is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rtpmix import UsageError
from rtpmix.lab.config import demo, load, parse
from tests.lab.world import configuration

EXAMPLE = Path(__file__).parents[2] / "examples" / "lab.toml"


def test_the_example_file_is_a_valid_configuration() -> None:
    config = load(EXAMPLE)
    assert config.users["coach"].may_supervise
    assert not config.users["alice"].may_supervise
    assert config.queue_called("600") is config.queues["support"]
    assert config.user_called("101") is config.users["alice"]
    assert config.recordings.parent == EXAMPLE.parent


def test_everything_in_the_file_arrives(tmp_path: Path) -> None:
    table = configuration(tmp_path)
    table["server"] |= {"rtp_ports": [30000, 30099], "realm": "lab.test", "media_timeout_s": 5}
    config = parse(table)
    assert config.server.rtp_ports == range(30000, 30100)
    assert config.server.realm == "lab.test"
    assert config.server.media_timeout_s == 5.0
    assert config.server.users == {"alice": "alice's", "bob": "bob's", "coach": "coach's"}
    assert config.server.recording_key == tmp_path / "key"
    assert config.queues["support"].agents == ("alice", "bob")


def changed(*path: str, to: Any) -> dict[str, Any]:
    """The test configuration with one value replaced."""
    table = configuration()
    place: dict[str, Any] = table
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return table


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("colour",), "red", "unknown key 'colour'"),
        (("server", "sip_lisen"), [], "unknown key 'sip_lisen'"),
        (("server",), 5, r"write \[server\]"),
        (("users", "alice"), "secret", r"write \[users.alice\]"),
        (("users", "alice", "password"), 5, "password is a text"),
        (("users", "alice", "password"), "", "no password"),
        (("users", "alice", "roles"), "agent", "roles is a list"),
        (("users", "alice", "roles"), ["boss"], "unknown role 'boss'"),
        (("users", "alice", "extension"), "12a", "up to 15 digits"),
        (("users", "alice", "extension"), "102", "both user alice and user bob"),
        (("users", "a b"), {"password": "x"}, "a user name is"),
        (("queues", "bob"), {}, "both user bob and queue bob"),
        (("queues", "support", "agents"), ["zoe"], "'zoe' is no user"),
        (("queues", "support", "ring_s"), 0, "from 1 to 180"),
        (("queues", "support", "ring_s"), True, "from 1 to 180"),
        (("queues", "a b"), {}, "a queue's name is"),
        (("server", "sip_listen"), ["5060"], "sip_listen entry '5060'"),
        (("server", "rtp_ports"), [1], "first, last"),
        (("server", "rtp_ports"), [1, 2], "1024"),
        (("server", "record"), "yes", "true or false"),
        (("server", "media_address"), "pbx.example.com", "not an IP address"),
        (("server", "media_timeout_s"), "5", "number of seconds"),
    ],
)
def test_what_is_wrong_is_named_in_one_sentence(
    path: tuple[str, ...], value: Any, says: str
) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        parse(changed(*path, to=value))
    assert "\n" not in str(caught.value)
    assert "alice's" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for name, content, says in (
        ("broken.toml", b"[server", "broken.toml"),
        ("latin.toml", b'x = "\xe9"', "not UTF-8"),
        ("wrong.toml", b"x = 1", "wrong.toml: the file: unknown key"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UsageError, match=says):
            load(tmp_path / name)
    with pytest.raises(UsageError, match="can't read"):
        load(tmp_path / "missing.toml")


def test_the_built_in_configuration_has_passwords_of_its_own() -> None:
    tokens = iter(f"token-{number}" for number in range(9))
    config = demo(lambda: next(tokens), sip_listen=("udp:127.0.0.1:0",))
    assert len({user.password for user in config.users.values()}) == len(config.users)
    assert config.server.sip_listen == ("udp:127.0.0.1:0",)
    assert any(user.may_supervise for user in config.users.values())


def test_a_password_is_in_no_representation() -> None:
    assert "alice's" not in repr(parse(configuration()))
