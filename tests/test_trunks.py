"""rtpmix.trunks: what may be said of a trunk."""

from __future__ import annotations

from typing import Any

import pytest

from rtpmix import Config, Trunk, UsageError


def trunk(**changes: Any) -> Trunk:
    values = {"name": "t", "registrars": ("sip:sbc.example.net",), "user": "1000"} | changes
    return Trunk(**values)


def test_a_trunk_makes_addresses_of_its_domain() -> None:
    assert trunk().address == "sip:1000@sbc.example.net"
    assert trunk(domain="example.net").target("+4930123") == "sip:+4930123@example.net"
    assert trunk(domain="2001:db8::1").target("1") == "sip:1@[2001:db8::1]"
    assert trunk().target("sip:x@y") == "sip:x@y"
    assert "secret" not in repr(trunk(password="secret"))


@pytest.mark.parametrize(
    "changes",
    [
        {"registrars": ()},
        {"registrars": "sip:a"},
        {"registrars": ("a b",)},
        {"registrars": ("tel:1",)},
        {"name": ""},
        {"user": ""},
        {"expires": 1},
        {"domain": "no good"},
    ],
)
def test_what_cannot_work_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        trunk(**changes)


def test_two_trunks_of_one_name_are_refused() -> None:
    with pytest.raises(UsageError, match="same name"):
        Config(trunks=(trunk(), trunk(user="2000")))
