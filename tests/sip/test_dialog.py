"""Dialog state and the requests that it shapes (RFC 3261 section 12)."""

from __future__ import annotations

import pytest

from rtpmix.sip.dialog import MAX_CSEQ, Dialog, request_uri_text
from rtpmix.sip.flow import Flow
from rtpmix.sip.headers import NameAddr
from rtpmix.sip.message import Request, Response, parse_message, respond
from rtpmix.sip.uri import parse_uri
from tests.sip.agents import ALICE, BOB, raw

FLOW = Flow("UDP", ALICE, BOB)


def request(headers: str = "", **more: object) -> Request:
    message = parse_message(raw("INVITE", headers=headers, **more))  # type: ignore[arg-type]
    assert isinstance(message, Request)
    return message


def served(headers: str = "", **more: object) -> Dialog:
    return Dialog.from_request(request(headers, **more), "bob1", FLOW)


def test_a_servers_dialog_is_made_from_the_request() -> None:
    """Section 12.1.1: route set in the request's order, sequence numbers, target, tags."""
    dialog = served("Record-Route: <sip:192.0.2.8;lr>, <sip:192.0.2.9;lr>", cseq=314)
    assert dialog.id == ("raw-call-1", "bob1", "alice1")
    assert dialog.remote_sequence == 314
    assert str(dialog.remote_target) == "sip:alice@192.0.2.1:5060"
    assert [str(route.uri) for route in dialog.route_set] == [
        "sip:192.0.2.8;lr",
        "sip:192.0.2.9;lr",
    ]
    assert NameAddr.parse(dialog.local).tag == "bob1"
    assert not dialog.created_call_id


def test_a_clients_dialog_is_made_from_the_response_with_the_routes_reversed() -> None:
    """Section 12.1.2."""
    invite = request("Record-Route: <sip:192.0.2.8;lr>, <sip:192.0.2.9;lr>", cseq=7)
    response = respond(invite, 180, to_tag="bob1", headers=[("Contact", "<sip:bob@192.0.2.2>")])
    dialog = Dialog.from_response(invite, response, FLOW)
    assert dialog.id == ("raw-call-1", "alice1", "bob1")
    assert (dialog.local_sequence, dialog.remote_sequence) == (7, None)
    assert [str(route.uri) for route in dialog.route_set] == [
        "sip:192.0.2.9;lr",
        "sip:192.0.2.8;lr",
    ]
    assert dialog.created_call_id


def test_a_2xx_computes_the_route_set_again_and_nothing_else() -> None:
    """Section 13.2.2.4."""
    invite = request()
    early = respond(invite, 180, to_tag="b", headers=[("Contact", "<sip:bob@192.0.2.2>")])
    dialog = Dialog.from_response(invite, early, FLOW)
    dialog.next_sequence()
    final = Response.create(
        200,
        None,
        [
            *(item for item in early.headers.items() if item[0] not in ("Contact",)),
            ("Contact", "<sip:bob@192.0.2.7>"),
            ("Record-Route", "<sip:192.0.2.8;lr>"),
        ],
    )
    dialog.confirm(final, FLOW)
    assert len(dialog.route_set) == 1
    assert str(dialog.remote_target) == "sip:bob@192.0.2.7"
    assert dialog.local_sequence == 2


def test_a_peer_of_rfc_2543_has_no_tag() -> None:
    """Section 12.1.1: a missing tag is null, and equals another null."""
    invite = request()
    invite.headers.set("From", "<sip:alice@192.0.2.1>")
    dialog = Dialog.from_request(invite, "bob1", FLOW)
    assert dialog.id == ("raw-call-1", "bob1", "")
    assert dialog.remote == "<sip:alice@192.0.2.1>"


def test_loose_routes_leave_the_target_in_the_request_uri() -> None:
    """Section 12.2.1.1."""
    dialog = served("Record-Route: <sip:p1;lr>, <sip:p2>")
    uri, routes = dialog.addressing()
    assert uri == "sip:alice@192.0.2.1:5060"
    assert routes == [("Route", "<sip:p1;lr>, <sip:p2>")]


def test_a_strict_router_gets_the_request_uri_and_the_target_comes_last() -> None:
    """Section 12.2.1.1, with the RFC's own example."""
    dialog = served(
        "Record-Route: <sip:proxy1>, <sip:proxy2>, <sip:proxy3;lr>, <sip:proxy4>",
        contact="<sip:user@remoteua>",
    )
    assert dialog.addressing() == (
        "sip:proxy1",
        [("Route", "<sip:proxy2>, <sip:proxy3;lr>, <sip:proxy4>, <sip:user@remoteua>")],
    )


def test_without_routes_there_is_no_route_header() -> None:
    assert served().addressing() == ("sip:alice@192.0.2.1:5060", [])


@pytest.mark.parametrize(
    ("headers", "contact", "expected"),
    [
        ("", "<sip:alice@192.0.2.77:5070>", ("192.0.2.77", 5070)),
        ("", "<sip:alice@192.0.2.77>", ("192.0.2.77", 5060)),
        ("", "<sip:alice@pc33.example.com>", ALICE),  # never resolved: back where it was heard
        ("", "<sip:alice@192.0.2.77;transport=tcp>", ALICE),  # we have no such address of ours
        ("Record-Route: <sip:192.0.2.8:5090;lr>", "<sip:alice@192.0.2.77>", ("192.0.2.8", 5090)),
        ("Record-Route: <sip:proxy.example.com;lr>", "<sip:alice@192.0.2.77>", ALICE),
        ("", "<sip:alice@[2001:db8::5]:5070>", ("2001:db8::5", 5070)),
    ],
)
def test_the_next_hop_is_an_address_or_where_the_peer_was_heard(
    headers: str, contact: str, expected: tuple[str, int]
) -> None:
    """Section 8.1.2, without a resolver."""
    assert served(headers, contact=contact).next_hop().remote == expected


def test_sequence_numbers_go_up_by_one_and_stay_in_31_bits() -> None:
    """Sections 12.2.1.1 and 8.1.1.5."""
    dialog = served()
    assert [dialog.next_sequence(), dialog.next_sequence()] == [1, 2]
    dialog.local_sequence = MAX_CSEQ
    assert dialog.next_sequence() == 1


def test_lower_and_equal_sequence_numbers_are_out_of_order() -> None:
    """Section 12.2.2."""
    dialog = served(cseq=5)
    assert [dialog.accepts_sequence(number) for number in (4, 5, 6, 100, 99, 100, 101)] == [
        *(False, False, True, True, False, False, True),
    ]


def test_a_request_uri_has_neither_headers_nor_method() -> None:
    """Section 19.1.1 table 1."""
    uri = parse_uri("sip:bob@192.0.2.2;method=INVITE;transport=udp?Subject=x")
    assert request_uri_text(uri) == "sip:bob@192.0.2.2;transport=udp"
    assert request_uri_text(parse_uri("tel:+123")) == "tel:+123"
