"""rtpmix.server.local_addresses: looks that take a socket are not taken for every request."""

from __future__ import annotations

import pytest

from rtpmix.server import local_addresses
from rtpmix.server.local_addresses import REMEMBERED, REMEMBERED_S, LocalAddresses


def test_a_host_is_looked_at_once_in_a_while_and_strangers_are_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks: list[str] = []

    def look(remote: tuple[str, int], fallback: str | None = None) -> str:
        looks.append(remote[0])
        return "127.0.0.1"

    monkeypatch.setattr(local_addresses, "address_towards", look)
    addresses = LocalAddresses()
    for _ in range(100):  # as many REGISTERs
        assert addresses.has("127.0.0.1", 0.0)
        assert not addresses.has("192.0.2.1", 0.0)
        assert not addresses.has("pbx.example", 0.0)  # a name is never looked up
        assert addresses.towards(("192.0.2.7", 5060), 0.0) == "127.0.0.1"
    assert looks == ["127.0.0.1", "192.0.2.1", "192.0.2.7"]
    addresses.has("127.0.0.1", REMEMBERED_S + 1.0)  # an interface may have another address now
    assert len(looks) == 4
    for number in range(3 * REMEMBERED):
        addresses.has(f"host{number}.example", 0.0)
        addresses.towards((f"host{number}", 5060), 0.0)
    assert max(len(addresses._own), len(addresses._towards)) <= REMEMBERED
