"""rtpmix.server.location: registrations that outlive the program."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from random import Random

import pytest

import rtpmix
from rtpmix.errors import UsageError
from rtpmix.server.inline_host import InlineHost
from rtpmix.server.location import Location, MemoryLocations, SqliteLocations
from rtpmix.sip.bindings import Binding
from rtpmix.sip.flow import Flow
from rtpmix.sip.uri import SipUri
from rtpmix.testing import TonePhone, VirtualNet, run
from rtpmix.testing.media import VirtualMediaIO
from rtpmix.testing.servers import HOST, virtual_server

UDP = Flow("UDP", ("192.0.2.9", 5062), ("192.0.2.1", 5060))


def binding(**changes: object) -> Binding:
    values: dict[str, object] = {
        "contact": SipUri.parse("sip:alice@192.0.2.9:5062;ob"),
        "flow": UDP,
        "expires_at": 2000.5,
        "q": 0.7,
        "call_id": "c\udcff1",  # bytes that are no UTF-8
        "cseq": 4,
        "instance": "<urn:uuid:1>",
        "reg_id": 2,
        "path": ("<sip:p1.example.com;lr>", "<sip:p2.example.com;lr>"),
    }
    return Binding(**(values | changes))  # type: ignore[arg-type]


def opened(path: Path) -> tuple[SqliteLocations, list[Location]]:
    store = SqliteLocations(path)
    return store, list(store.load())


def test_what_was_saved_is_loaded_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "new" / "registrations.sqlite"
    store, found = opened(path)
    assert found == []
    alice = Location("sip:alice@x", (binding(), binding(instance=None, reg_id=None, path=())))
    store.save(Location("sip:alice@x", (binding(cseq=1),)))
    store.save(Location("sip:bob@x", (binding(),)))
    store.save(alice)
    store.save(Location("sip:bob@x", ()))
    store.close()
    assert path.stat().st_mode & 0o777 == 0o600
    again, found = opened(path)
    assert found == [alice]
    again.close()


def test_many_changes_are_written_once_and_waiting_is_bounded(tmp_path: Path) -> None:
    store = SqliteLocations(tmp_path / "r")  # not loaded yet: nothing writes
    for number in range(1000):
        store.save(Location("sip:alice@x", (binding(cseq=number),)))
    assert store.snapshot()["locations_waiting"] == 1
    store.load()
    store.close()
    assert store.snapshot()["locations_waiting"] == 0
    assert store.snapshot()["locations_written"] == 1


def test_a_file_that_is_no_database_is_said_so_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "r"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(UsageError, match="can't keep registrations"):
        SqliteLocations(path).load()
    with pytest.raises(UsageError, match="can't keep registrations"):
        SqliteLocations(tmp_path).load()


def test_rows_that_cannot_be_read_are_left_out_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "r"
    store, _ = opened(path)
    store.save(Location("sip:alice@x", (binding(),)))
    store.save(Location("sip:bob@x", (binding(),)))
    store.close()
    with sqlite3.connect(path) as database:
        database.execute("UPDATE bindings SET contact = 'tel:1' WHERE aor = 'sip:bob@x'")
    again, found = opened(path)
    again.close()
    assert [each.aor for each in found if each.bindings] == ["sip:alice@x"]
    assert again.snapshot()["locations_unreadable"] == 1


def test_a_disk_that_fails_is_counted_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "r"
    store, _ = opened(path)
    path.unlink()
    path.mkdir()
    store.save(Location("sip:alice@x", (binding(),)))
    store.close()
    assert store.snapshot()["location_failures"] >= 1
    assert "alice" not in caplog.text


def test_memory_forgets_what_is_empty() -> None:
    store = MemoryLocations()
    store.save(Location("a", (binding(),)))
    store.save(Location("b", (binding(),)))
    store.save(Location("a", ()))
    assert [each.aor for each in store.load()] == ["b"]
    assert store.snapshot() == {"locations": 1}
    store.close()


def test_a_phone_is_called_after_a_restart_without_registering_again(tmp_path: Path) -> None:
    users = {"bob": "builder"}
    net = VirtualNet(seed=3, delay_ms=5)

    async def main() -> None:
        phone = TonePhone(
            "bob",
            host="192.0.2.20",
            domain="pbx.example",
            proxy=(HOST, 5060),
            password="builder",
        )
        settings = {"users": users, "realm": "pbx.example", "registrations": tmp_path / "r"}
        async with phone:
            async with virtual_server(net, **settings) as server:
                await phone.register()
            async with virtual_server(net, **settings) as server:
                assert server.contacts("bob") == 1
                leg = await server.invite("sip:bob@pbx.example")
                assert leg.user == "bob"
                await leg.hangup()
        async with virtual_server(net, **settings, seed=9) as server:
            assert server.snapshot()["logins"]["bindings"] == 1

    run(main(), net, limit=100)


def test_a_store_of_ones_own_serves_as_well() -> None:
    store = MemoryLocations()
    soon = binding(expires_at=4e9, instance=None, reg_id=None)
    past = binding(expires_at=1.0, reg_id=3)
    lost = binding(expires_at=4e9, flow=UDP._replace(transport="TCP"))
    store.save(Location("sip:bob@rtpmix", (soon, past, lost)))
    net = VirtualNet(seed=3)

    async def main() -> int:
        config = rtpmix.Config(
            sip_listen=(f"udp:{HOST}:5060",), media_address=HOST, users={"bob": "x"}
        )
        host = InlineHost(VirtualMediaIO(net, HOST, config.rtp_ports), phases=4, source=Random(1))
        async with rtpmix.Server(config, media_host=host, locations=store) as server:
            return server.contacts("bob")

    assert run(main(), net) == 1
