"""What is refused before its meaning is looked at (RFC 3261 section 8.2)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sip.agents import OFFER, Bob, live, raw


def refused(data: bytes, **config: Any) -> Any:
    """Return the one answer, after checking that it left nothing behind."""
    bob = Bob(**config)
    (answer,) = bob.take(data)
    assert live(bob.agent) == {}
    assert bob.told == []
    assert answer.to.tag
    (again,) = bob.take(data)
    assert again.to_bytes() == answer.to_bytes()  # section 8.2.7: the same tag too
    return answer


@pytest.mark.parametrize("method", ["SUBSCRIBE", "REFER", "UPDATE", "PRACK", "REGISTER", "NOTIFY"])
def test_a_method_that_is_not_taken_is_405_with_allow(method: str) -> None:
    """Section 8.2.1."""
    answer = refused(raw(method))
    assert answer.status == 405
    assert "INVITE" in answer.allow
    assert method not in answer.allow


@pytest.mark.parametrize("method", ["NEWMETHOD", "invite", "BYE2"])
def test_a_method_that_nobody_knows_is_501(method: str) -> None:
    """Section 21.5.2; methods are compared in their case (section 7.1)."""
    assert refused(raw(method)).status == 501


def test_a_method_that_the_user_takes_comes_out() -> None:
    bob = Bob(allow=("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "REGISTER"))
    assert bob.take(raw("REGISTER")) == []
    assert bob.events("Requested")[0].message.method == "REGISTER"
    assert bob.status(raw("MESSAGE", branch="z9hG4bK2")) == 405


@pytest.mark.parametrize(
    ("uri", "status"),
    [("http://example.com", 416), ("mailto:bob@example.com", 416), ("tel:+15551234", 100)],
)
def test_a_scheme_that_means_no_telephone_is_416(uri: str, status: int) -> None:
    """Section 8.2.2.1."""
    assert Bob().status(raw("INVITE", uri=uri)) == status


def test_an_extension_that_we_lack_is_420_with_unsupported() -> None:
    """Section 8.2.2.3: all that are unknown, and only those."""
    answer = refused(
        raw("INVITE", headers="Require: timer, 100rel\r\nRequire: nothing"), supported=("timer",)
    )
    assert answer.status == 420
    assert answer.headers.get_all("Unsupported") == ["100rel", "nothing"]
    assert Bob(supported=("timer",)).status(raw("INVITE", headers="Require: timer")) == 100


@pytest.mark.parametrize(
    "content", ["text/plain", "multipart/mixed;boundary=x", "application/sdpx"]
)
def test_a_body_of_another_type_is_415_with_accept(content: str) -> None:
    """Section 8.2.3."""
    answer = refused(raw("INVITE", headers=f"Content-Type: {content}", body=OFFER))
    assert (answer.status, answer.headers.get("Accept")) == (415, "application/sdp")


@pytest.mark.parametrize("content", ["application/sdp", "APPLICATION/SDP", "application/sdp;x=y"])
def test_a_body_of_our_type_is_taken_however_it_is_written(content: str) -> None:
    assert Bob().status(raw("INVITE", headers=f"Content-Type: {content}", body=OFFER)) == 100


def test_an_encoded_body_is_415_with_accept_encoding() -> None:
    headers = "Content-Type: application/sdp\r\nContent-Encoding: gzip"
    answer = refused(raw("INVITE", headers=headers, body=OFFER))
    assert (answer.status, answer.headers.get("Accept-Encoding")) == (415, "identity")


def test_a_request_at_the_end_of_its_hops_is_483_unless_it_asks_or_belongs_to_a_dialog() -> None:
    assert refused(raw("INVITE", headers="Max-Forwards: 0")).status == 483
    assert refused(raw("OPTIONS", headers="Max-Forwards: 0")).status == 200
    bob = Bob()
    _, tag = bob.answered()
    bye = raw("BYE", branch="z9hG4bKb", to_tag=tag, cseq=2, headers="Max-Forwards: 0")
    assert bob.status(bye) == 200


@pytest.mark.parametrize("contact", [None, "*", "<tel:+123>"])
def test_an_invite_needs_a_contact_that_can_be_called(contact: str | None) -> None:
    """Section 8.1.1.8."""
    assert refused(raw("INVITE", contact=contact)).status == 400


@pytest.mark.parametrize("method", ["BYE", "INFO", "INVITE", "OPTIONS"])
def test_a_request_in_no_dialog_of_ours_is_481(method: str) -> None:
    """Section 12.2.2."""
    assert refused(raw(method, to_tag="unknown")).status == 481


def test_a_bye_without_a_dialog_is_481() -> None:
    """Section 15.1.2."""
    assert refused(raw("BYE")).status == 481


def test_options_tells_what_we_can_do() -> None:
    """Section 11.2."""
    answer = refused(raw("OPTIONS"), supported=("timer",))
    assert answer.status == 200
    assert answer.headers.get("Accept") == "application/sdp"
    assert answer.supported == ["timer"]
    assert "INVITE" in answer.allow
    assert answer.contacts


def test_an_ack_is_never_answered() -> None:
    """Section 17: whatever is wrong with it."""
    bob = Bob()
    for data in (
        raw("ACK"),
        raw("ACK", to_tag="unknown"),
        raw("ACK", headers="Require: nothing"),
        raw("ACK", headers="Max-Forwards: x"),
        raw("ACK", uri="http://example.com"),
    ):
        assert bob.take(data) == []
