"""History-Info and Diversion, read into one list."""

from __future__ import annotations

from rtpmix.sip.headers import Headers
from rtpmix.sip.history import Diverted, read_history


def test_the_history_is_in_the_order_of_its_indexes() -> None:
    """RFC 7044 sections 5 and 10.3: a cause of 302 led on from the first target."""
    headers = Headers(
        [
            ("History-Info", "<sip:office@biloxi.example.com?Reason=SIP%3Bcause%3D480>;index=1.10"),
            (
                "History-Info",
                '"Bob" <sip:bob@example.com?Reason=SIP%3Bcause%3D302&Privacy=history>;index=1'
                ", <sip:home@192.0.2.6>;index=1.2;rc=1",
            ),
        ]
    )
    assert read_history(headers) == (
        Diverted("sip:bob@example.com", "Bob", "unconditional", 302, "1", 1, True),
        Diverted("sip:home@192.0.2.6", None, "", None, "1.2"),
        Diverted("sip:office@biloxi.example.com", None, "unavailable", 480, "1.10"),
    )


def test_the_cause_of_a_target_is_read_from_its_uri() -> None:
    """RFC 4458 section 3.1."""
    headers = Headers([("History-Info", "<sip:voicemail@example.com;cause=486>;index=1.1")])
    (entry,) = read_history(headers)
    assert (entry.cause, entry.reason) == (486, "user-busy")


def test_the_latest_diversion_stands_on_top() -> None:
    """RFC 5806 section 4: the order of Diversion is the reverse of time."""
    headers = Headers(
        [
            ("Diversion", "<sip:second@p.example.com>;reason=no-answer;counter=2;privacy=full"),
            ("Diversion", "<tel:+15551234>;reason=user-busy"),
        ]
    )
    assert read_history(headers) == (
        Diverted("tel:+15551234", None, "user-busy", 486, header="Diversion"),
        Diverted("sip:second@p.example.com", None, "no-answer", 408, "", 2, True, "Diversion"),
    )


def test_what_is_malformed_is_left_out_and_the_number_is_bounded() -> None:
    headers = Headers(
        [
            ("History-Info", "<sip:a@example.com>"),
            ("History-Info", "<sip:a@example.com>;index=1.x"),
            ("History-Info", "<sip:" + "a" * 2000 + "@example.com>;index=1"),
            *[("History-Info", f"<sip:u{n}@example.com>;index=1.{n}") for n in range(100)],
        ]
    )
    assert len(read_history(headers)) == 29
    assert read_history(Headers([("Diversion", "nonsense<"), ("Diversion", "\udcff")])) == ()
