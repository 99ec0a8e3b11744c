"""rtpmix.sip.registrar: who can be reached where, and how REGISTER changes it."""

from __future__ import annotations

import random

import pytest

from rtpmix.errors import UsageError
from rtpmix.sip.flow import Flow
from rtpmix.sip.message import Request, parse_message
from rtpmix.sip.registrar import Registrar, Reply

AOR = "sip:alice@pbx.test"
FLOW = Flow("UDP", ("192.0.2.9", 5060), ("192.0.2.1", 5060))
OTHER_FLOW = Flow("TCP", ("192.0.2.10", 40000), ("192.0.2.1", 5060), 7)


def register(
    *contacts: str, cseq: int = 1, call_id: str = "c1", expires: str | None = None
) -> Request:
    made = Request.create(
        "REGISTER",
        "sip:pbx.test",
        [
            ("Via", "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1"),
            ("From", f"<{AOR}>;tag=1"),
            ("To", f"<{AOR}>"),
            ("Call-ID", call_id),
            ("CSeq", f"{cseq} REGISTER"),
            *[("Contact", contact) for contact in contacts],
            *([("Expires", expires)] if expires is not None else []),
        ],
    )
    parsed = parse_message(made.to_bytes())
    assert isinstance(parsed, Request)
    return parsed


class Desk:
    """A registrar and a clock."""

    def __init__(self, **settings: int) -> None:
        self.registrar = Registrar(**settings)
        self.now = 1000.0

    def take(self, request: Request, flow: Flow = FLOW, aor: str = AOR) -> Reply:
        return self.registrar.register(request, flow, aor, self.now)

    def reachable(self, aor: str = AOR) -> list[str]:
        return [str(each.contact) for each in self.registrar.lookup(aor, self.now)]


def contacts(reply: Reply) -> list[str]:
    return [value for name, value in reply.headers if name == "Contact"]


def test_a_phone_registers_and_is_found_with_its_flow() -> None:
    """RFC 3261 section 10.3 steps 7 and 8."""
    desk = Desk()
    reply = desk.take(register("<sip:alice@192.0.2.9:5062;ob>", expires="600"))
    assert reply == Reply(200, "OK", [("Contact", "<sip:alice@192.0.2.9:5062;ob>;expires=600")])
    (binding,) = desk.registrar.lookup(AOR, desk.now)
    assert binding.flow == FLOW
    assert binding.expires_at == 1600.0
    assert desk.reachable("sip:bob@pbx.test") == []


@pytest.mark.parametrize(
    ("contact", "expires", "given"),
    [
        ("<sip:a@b>;expires=120", "600", 120),
        ("<sip:a@b>", "600", 600),
        ("<sip:a@b>", None, 3600),
        ("<sip:a@b>;expires=99999", None, 7200),
        ("<sip:a@b>;expires=999999999999999999999999", None, 7200),
        ("<sip:a@b>;expires=soon", "600", 3600),
        ("<sip:a@b>;expires=-5", "600", 3600),
    ],
)
def test_the_interval_is_the_contacts_then_the_requests_then_ours(
    contact: str, expires: str | None, given: int
) -> None:
    """RFC 3261 sections 10.3 step 7 and 20.10."""
    desk = Desk(max_expires=7200)
    assert contacts(desk.take(register(contact, expires=expires))) == [f"<sip:a@b>;expires={given}"]


@pytest.mark.parametrize(("wanted", "status"), [(0, 200), (1, 423), (59, 423), (60, 200)])
def test_an_interval_too_brief_is_refused_with_the_least(wanted: int, status: int) -> None:
    """RFC 3261 sections 10.3 step 7 and 21.4.17."""
    reply = Desk().take(register(f"<sip:a@b>;expires={wanted}"))
    assert reply.status == status
    assert (("Min-Expires", "60") in reply.headers) is (status == 423)


def test_an_hour_is_never_too_brief() -> None:
    """RFC 3261 section 10.3 step 7: 423 only for less than one hour."""
    desk = Desk(min_expires=7200, default_expires=7200, max_expires=7200)
    assert desk.take(register("<sip:a@b>;expires=3600")).status == 200
    assert desk.take(register("<sip:a@b>;expires=3599", cseq=2)).status == 423


def test_bindings_run_out() -> None:
    desk = Desk()
    desk.take(register("<sip:a@b>;expires=60", "<sip:a@c>;expires=90"))
    desk.now += 59.9
    assert desk.reachable() == ["sip:a@c", "sip:a@b"]
    desk.now += 0.1
    assert desk.reachable() == ["sip:a@c"]
    assert len(desk.registrar) == 2
    assert desk.registrar.expire(desk.now) == 1
    desk.now += 60
    assert desk.registrar.expire(desk.now) == 1
    assert len(desk.registrar) == 0
    assert list(desk.registrar.bindings()) == []


def test_a_query_changes_nothing() -> None:
    """RFC 3261 section 10.3 step 6: no Contact, to the last step."""
    desk = Desk()
    desk.take(register("<sip:a@b>;q=0.5", "<sip:a@c>"))
    desk.now += 0.5
    assert contacts(desk.take(register(cseq=2))) == [
        "<sip:a@b>;q=0.5;expires=3600",
        "<sip:a@c>;expires=3600",
    ]


def test_a_refresh_replaces_the_equal_contact_and_its_flow() -> None:
    """RFC 3261 sections 10.3 step 7 and 19.1.4: compared as URIs, not as text."""
    desk = Desk()
    desk.take(register("<sip:alice@Host.test;x=1>"))
    reply = desk.take(register("<sip:%61lice@hOST.test;x=1>;expires=120", cseq=2), OTHER_FLOW)
    assert contacts(reply) == ["<sip:%61lice@hOST.test;x=1>;expires=120"]
    (binding,) = desk.registrar.lookup(AOR, desk.now)
    assert (binding.flow, binding.cseq) == (OTHER_FLOW, 2)


def test_a_late_request_of_the_same_client_fails() -> None:
    """RFC 3261 section 10.3 step 7: same Call-ID, CSeq not higher."""
    desk = Desk()
    desk.take(register("<sip:a@b>", cseq=5))
    for cseq in (4, 5):
        assert desk.take(register("<sip:a@b>;expires=0", cseq=cseq)).status == 500
    assert desk.reachable() == ["sip:a@b"]
    assert desk.take(register("<sip:a@b>;expires=0", cseq=1, call_id="c2")).status == 200
    assert desk.reachable() == []


def test_one_request_may_name_a_contact_twice() -> None:
    """The last word counts; a request is not late after itself."""
    desk = Desk()
    reply = desk.take(register("<sip:a@b>;expires=100", "<sip:a@b>;expires=200"))
    assert contacts(reply) == ["<sip:a@b>;expires=200"]


def test_a_star_removes_everything() -> None:
    """RFC 3261 section 10.3 step 6."""
    desk = Desk()
    desk.take(register("<sip:a@b>", "<sip:a@c>"))
    desk.take(register("<sip:a@d>", call_id="c2", cseq=9))
    assert desk.take(register("*", expires="0", cseq=10)) == Reply(200, "OK", [])
    assert desk.reachable() == []
    assert len(desk.registrar) == 0


@pytest.mark.parametrize("expires", [None, "60", "soon"])
def test_a_star_without_expires_zero_is_invalid(expires: str | None) -> None:
    """RFC 3261 section 10.3 step 6."""
    desk = Desk()
    desk.take(register("<sip:a@b>"))
    assert desk.take(register("*", expires=expires, cseq=2)).status == 400
    assert desk.reachable() == ["sip:a@b"]


def test_a_late_star_fails() -> None:
    desk = Desk()
    desk.take(register("<sip:a@b>", cseq=5))
    assert desk.take(register("*", expires="0", cseq=5)).status == 500
    assert desk.reachable() == ["sip:a@b"]


@pytest.mark.parametrize(
    "bad", ["<sip:a@new>;expires=5", "<tel:+15551234>", "<sip:a@b>;expires=60"]
)
def test_a_request_is_done_whole_or_not_at_all(bad: str) -> None:
    """RFC 3261 section 10.3: processed completely or not at all."""
    desk = Desk()
    desk.take(register("<sip:a@b>", cseq=5))
    assert desk.take(register("<sip:a@new>", bad, cseq=5)).status in (400, 423, 500)
    assert desk.reachable() == ["sip:a@b"]


def test_the_preferred_contact_comes_first_then_the_newest() -> None:
    """RFC 3261 section 20.10: q orders contacts."""
    desk = Desk()
    desk.take(register("<sip:low@b>;q=0.1", "<sip:old@b>", "<sip:bad@b>;q=7", "<sip:no@b>;q=0"))
    desk.take(register("<sip:new@b>;q=1.0", cseq=2))
    assert desk.reachable() == [
        "sip:new@b",
        "sip:bad@b",
        "sip:old@b",
        "sip:low@b",
        "sip:no@b",
    ]


def test_contacts_are_bounded_and_room_comes_back() -> None:
    desk = Desk(max_contacts=2)
    desk.take(register("<sip:a@h1>;expires=60", "<sip:a@h2>"))
    assert desk.take(register("<sip:a@h3>", cseq=2)).status == 403
    assert desk.take(register("<sip:a@h2>", cseq=3)).status == 200
    desk.now += 61
    assert desk.take(register("<sip:a@h3>", cseq=4)).status == 200


def test_bindings_in_all_are_bounded() -> None:
    desk = Desk(max_bindings=3)
    for user in "abc":
        assert desk.take(register("<sip:x@y>"), aor=f"sip:{user}@pbx.test").status == 200
    reply = desk.take(register("<sip:x@y>"), aor="sip:d@pbx.test")
    assert reply == Reply(503, "Service Unavailable", [("Retry-After", "60")])
    assert desk.take(register("<sip:x@y>", cseq=2), aor="sip:a@pbx.test").status == 200
    desk.take(register("*", expires="0", cseq=3), aor="sip:a@pbx.test")
    assert desk.take(register("<sip:x@y>"), aor="sip:d@pbx.test").status == 200


@pytest.mark.parametrize(
    "settings",
    [{"min_expires": 0}, {"default_expires": 30}, {"max_expires": 100}, {"max_contacts": 0}],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        Registrar(**settings)


def test_random_registrations_agree_with_a_plain_model() -> None:
    """Seeded: lookups and the count agree with a dictionary kept beside."""
    chance = random.Random(3261)
    desk = Desk(max_contacts=4)
    model: dict[tuple[str, str], float] = {}
    for cseq in range(1, 2000):
        desk.now += chance.choice([0.0, 1.0, 30.0])
        model = {key: at for key, at in model.items() if at > desk.now}
        aor = f"sip:{chance.choice('abc')}@pbx.test"
        host, seconds = f"h{chance.randrange(6)}", chance.choice([0, 60, 90, 300])
        reply = desk.take(register(f"<sip:u@{host}>;expires={seconds}", cseq=cseq), aor=aor)
        others = sum(1 for who, where in model if who == aor and where != host)
        if others + (seconds > 0) > 4:
            assert reply.status == 403
        else:
            assert reply.status == 200
            model.pop((aor, host), None)
            if seconds:
                model[aor, host] = desk.now + seconds
        if chance.random() < 0.1:
            desk.registrar.expire(desk.now)
            assert len(desk.registrar) == len(model)
        expected = {f"sip:u@{where}" for who, where in model if who == aor}
        assert set(desk.reachable(aor)) == expected


# ------------------------------------------------------------- proxies between, and flows

EDGE = "<sip:edge.example.com;lr;ob>"
PHONE = '+sip.instance="<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>"'


def outbound(
    reg_id: int | None = 1,
    *,
    host: str = "192.0.2.9",
    path: tuple[str, ...] = (),
    hops: int = 1,
    supported: str = "path, outbound",
    cseq: int = 1,
    call_id: str = "c1",
    contact: str | None = None,
) -> Request:
    flow = f";reg-id={reg_id}" if reg_id is not None else ""
    vias = [("Via", f"SIP/2.0/UDP 192.0.2.{n};branch=z9hG4bK{n}") for n in range(hops)]
    made = Request.create(
        "REGISTER",
        "sip:pbx.test",
        [
            *vias,
            ("From", f"<{AOR}>;tag=1"),
            ("To", f"<{AOR}>"),
            ("Call-ID", call_id),
            ("CSeq", f"{cseq} REGISTER"),
            ("Supported", supported),
            *[("Path", value) for value in path],
            ("Contact", contact or f"<sip:alice@{host};ob>;{PHONE}{flow}"),
        ],
    )
    parsed = parse_message(made.to_bytes())
    assert isinstance(parsed, Request)
    return parsed


def test_a_path_is_kept_for_calls_and_told_back() -> None:
    """RFC 3327 section 5.3: in order, the one next to us first."""
    desk = Desk()
    path = ("<sip:p2.example.com;lr>", "<sip:p1.example.com;lr>")
    reply = desk.take(outbound(None, path=path, hops=3))
    assert [value for name, value in reply.headers if name == "Path"] == list(path)
    assert [each.path for each in desk.registrar.lookup(AOR, desk.now)] == [path]


@pytest.mark.parametrize("path", [("sip:p1.example.com;lr",), ("<tel:+1>",), ("<sip:p;lr>",) * 9])
def test_a_path_that_leads_nowhere_is_refused(path: tuple[str, ...]) -> None:
    desk = Desk()
    assert desk.take(outbound(None, path=path, hops=2)).status == 400
    assert desk.reachable() == []


def test_a_flow_replaces_itself_whatever_its_contact_says() -> None:
    """RFC 5626 section 6: the binding is to instance and reg-id; the phone may move."""
    desk = Desk()
    reply = desk.take(outbound(1))
    assert ("Require", "outbound") in reply.headers
    assert f";{PHONE};reg-id=1;expires=3600" in contacts(reply)[0]
    desk.take(outbound(2, cseq=2), flow=OTHER_FLOW)
    assert len(desk.reachable()) == 2
    desk.take(outbound(1, host="198.51.100.7", call_id="rebooted"))
    assert sorted(desk.reachable()) == ["sip:alice@192.0.2.9;ob", "sip:alice@198.51.100.7;ob"]


def test_a_binding_without_a_flow_is_another_than_one_with() -> None:
    desk = Desk()
    desk.take(outbound(1))
    reply = desk.take(outbound(None, cseq=2))
    assert ("Require", "outbound") not in reply.headers
    assert len(contacts(reply)) == 2


@pytest.mark.parametrize(
    ("path", "status"), [((), 439), (("<sip:edge.example.com;lr>",), 439), ((EDGE,), 200)]
)
def test_a_proxy_between_must_keep_flows(path: tuple[str, ...], status: int) -> None:
    """RFC 5626 section 6: 439 where it does not and the phone counts on it."""
    assert Desk().take(outbound(path=path, hops=2)).status == status


def test_without_outbound_the_flow_is_ignored() -> None:
    desk = Desk()
    reply = desk.take(outbound(hops=2, supported="path"))
    assert reply.status == 200
    assert "reg-id" not in contacts(reply)[0]
    (binding,) = desk.registrar.lookup(AOR, desk.now)
    assert (binding.reg_id, binding.instance) == (None, PHONE.split('"')[1])


@pytest.mark.parametrize("instance", ["", '+sip.instance="no urn";', "+sip.instance;"])
def test_a_reg_id_without_an_instance_is_ignored(instance: str) -> None:
    desk = Desk()
    reply = desk.take(outbound(contact=f"<sip:a@b>;{instance}reg-id=1"))
    assert contacts(reply) == ["<sip:a@b>;expires=3600"]


def test_one_request_registers_one_flow() -> None:
    """RFC 5626 section 6: beside a flow, contacts may only be removed."""
    desk = Desk()
    both = f"<sip:a@b>;{PHONE};reg-id=1, <sip:c@d>"
    assert desk.take(outbound(contact=both)).status == 400
    assert desk.take(outbound(contact=f"{both};expires=0")).status == 200


def test_a_lost_connection_takes_its_flows_along_and_no_others() -> None:
    desk = Desk()
    stream = OTHER_FLOW
    desk.take(outbound(1), flow=stream)
    desk.take(outbound(2, cseq=2))  # over UDP
    desk.take(register("<sip:behind-nat@10.0.0.9>", call_id="c2"), flow=stream)
    desk.take(register(f"<sip:listens@{stream.remote[0]}>", call_id="c3"), flow=stream)
    assert desk.registrar.connection_closed(stream._replace(connection=99)) == []
    assert desk.registrar.connection_closed(stream) == [AOR]
    left = desk.registrar.lookup(AOR, desk.now)
    assert {each.contact.user for each in left} == {"alice", "listens"}
    assert all(each.flow.connection == 0 for each in left)
    (listening,) = (each for each in left if each.contact.user == "listens")
    assert listening.flow.remote == (stream.remote[0], 5060)  # no more the connection's port
    assert desk.registrar.connection_closed(stream) == []


def test_what_changed_is_told_with_all_that_is_left() -> None:
    told: list[tuple[str, int]] = []
    registrar = Registrar(on_change=lambda aor, bindings: told.append((aor, len(bindings))))
    registrar.register(register("<sip:a@b>", "<sip:c@d>"), FLOW, AOR, 0.0)
    registrar.register(register(cseq=2), FLOW, AOR, 0.0)  # only asks
    (first, second) = registrar.lookup(AOR, 0.0)
    assert registrar.remove(AOR, first)
    assert not registrar.remove(AOR, first)
    registrar.expire(5000.0)
    assert told == [(AOR, 2), (AOR, 1), (AOR, 0)]
    registrar.restore(AOR, [second])
    assert registrar.lookup(AOR, 0.0) == [second]
    assert len(told) == 3


def test_one_phone_cannot_make_us_keep_kilobytes() -> None:
    desk = Desk()
    assert desk.take(register(f"<sip:{'a' * 3000}@b>")).status == 400
