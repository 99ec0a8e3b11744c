"""Offers and answers with keys: RFC 4568, RFC 8643, and no silent downgrade."""

from __future__ import annotations

import base64
import re
from dataclasses import replace

import pytest

from rtpmix.errors import SdpError
from rtpmix.rtp.srtp import SUITES, MasterKey
from rtpmix.sdp.crypto import MAX_LINES, read_crypto
from rtpmix.sdp.description import MediaDescription, parse_sdp
from rtpmix.sdp.fingerprint import DtlsSecured
from rtpmix.sdp.ice import IceCredentials
from rtpmix.sdp.negotiation import (
    Capabilities,
    Direction,
    LocalMedia,
    Negotiated,
    accept_answer,
    answer_offer,
    make_offer,
)
from rtpmix.sdp.security import Encryption, Security

REQUIRED, OPTIONAL, FORBIDDEN = Encryption.REQUIRED, Encryption.OPTIONAL, Encryption.FORBIDDEN
CAPABILITIES = Capabilities()
# RFC 4568 section 4.1: the example's own key.
KEY = "inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR"
SUITE = "AES_CM_128_HMAC_SHA1_80"
HEAD = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n"


def local(policy: Encryption, *suites: str, offers: bool = True) -> LocalMedia:
    chosen = suites or tuple(SUITES)
    keys = tuple(
        MasterKey(SUITES[name], bytes([n + 1] * SUITES[name].master_length))
        for n, name in enumerate(chosen)
    )
    security = Security(policy=policy, keys=keys, offers=offers)
    return LocalMedia(address="192.0.2.1", port=4000, session_id=1, version=1, security=security)


def offer(profile: str, *crypto: str, more: str = "") -> bytes:
    lines = "".join(f"a=crypto:{line}\r\n" for line in crypto)
    return f"{HEAD}m=audio 5000 {profile} 0\r\n{lines}{more}".encode()


def answer(
    body: bytes, policy: Encryption, *suites: str, current: Negotiated | None = None
) -> tuple[bytes, Negotiated]:
    mine = local(policy, *suites)
    description, agreed = answer_offer(parse_sdp(body), CAPABILITIES, mine, current)
    return description.to_bytes(), agreed


@pytest.mark.parametrize("profile", ["RTP/SAVP", "RTP/SAVPF", "RTP/AVP", "RTP/AVPF"])
@pytest.mark.parametrize("policy", [REQUIRED, OPTIONAL], ids=str)
def test_offered_keys_are_taken_under_every_profile(profile: str, policy: Encryption) -> None:
    """The answer repeats profile, tag and suite, and brings one key: ours."""
    body, agreed = answer(offer(profile, f"7 {SUITE} {KEY}"), policy)
    assert f" {profile} 0".encode() in body
    assert body.count(b"a=crypto:") == 1
    assert f"a=crypto:7 {SUITE} inline:".encode() in body
    assert agreed.secured is not None
    assert agreed.secured.theirs.material == base64.b64decode(KEY.removeprefix("inline:"))
    assert agreed.secured.ours.inline().encode() in body
    assert KEY.encode() not in body


@pytest.mark.parametrize(
    ("profile", "policy", "served"),
    [
        ("RTP/AVP", REQUIRED, False),
        ("RTP/AVPF", REQUIRED, False),
        ("RTP/SAVP", REQUIRED, False),
        ("RTP/SAVP", OPTIONAL, False),
        ("RTP/SAVP", FORBIDDEN, False),
        ("RTP/AVP", OPTIONAL, True),
        ("RTP/AVPF", OPTIONAL, True),
        ("RTP/AVP", FORBIDDEN, True),
        ("RTP/XYZ", OPTIONAL, False),
    ],
)
def test_an_offer_without_keys(profile: str, policy: Encryption, served: bool) -> None:
    if served:
        assert answer(offer(profile), policy)[1].secured is None
        return
    with pytest.raises(SdpError) as caught:
        answer(offer(profile), policy)
    assert caught.value.status_hint == 488


def test_forbidden_passes_over_keys_that_may_be_passed_over() -> None:
    body, agreed = answer(offer("RTP/AVP", f"1 {SUITE} {KEY}"), FORBIDDEN)
    assert agreed.secured is None
    assert b"crypto" not in body
    with pytest.raises(SdpError):
        answer(offer("RTP/SAVP", f"1 {SUITE} {KEY}"), FORBIDDEN)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "1",
        f"1 {SUITE}",
        f"x {SUITE} {KEY}",
        f"1 F8_128_HMAC_SHA1_80 {KEY}",
        f"1 {SUITE} {KEY}|2^20|1:4",
        f"1 {SUITE} {KEY};{KEY}",
        f"1 {SUITE} {KEY} UNENCRYPTED_SRTP",
        f"1 {SUITE} {KEY} UNENCRYPTED_SRTCP",
        f"1 {SUITE} {KEY} UNAUTHENTICATED_SRTP",
        f"1 {SUITE} {KEY} KDR=3",
        f"1 {SUITE} inline:c2hvcnQ=",
        f"1 {SUITE} inline:\N{SNOWMAN}",
        f"1 {SUITE} uri:https://example.com",
    ],
)
def test_a_line_that_can_not_be_served_is_passed_over(line: str) -> None:
    """RFC 4568 section 5.1.2: what follows counts; alone, it is as if there were no key."""
    followed = offer("RTP/SAVP", line, f"2 {SUITE} {KEY}")
    secured = answer(followed, REQUIRED)[1].secured
    assert secured is not None
    assert secured.tag == 2
    with pytest.raises(SdpError):
        answer(offer("RTP/SAVP", line), OPTIONAL)


@pytest.mark.parametrize("tail", ["|2^31", "|1048576", " WSH=128", "|2^20 WSH=64"])
def test_lifetime_and_window_hint_are_read_over(tail: str) -> None:
    assert answer(offer("RTP/SAVP", f"1 {SUITE} {KEY}{tail}"), REQUIRED)[1].secured is not None


def test_the_offerers_order_of_suites_counts() -> None:
    lines = (f"1 AES_CM_128_HMAC_SHA1_32 {KEY}", f"2 {SUITE} {KEY}")
    secured = answer(offer("RTP/SAVP", *lines), REQUIRED)[1].secured
    assert secured is not None
    assert secured.suite == "AES_CM_128_HMAC_SHA1_32"
    secured = answer(offer("RTP/SAVP", *lines), REQUIRED, SUITE)[1].secured
    assert secured is not None
    assert secured.suite == SUITE


def test_of_two_streams_the_encrypted_one_is_taken() -> None:
    """A caller that offers the same audio twice must not be led to the plain one."""
    body = offer("RTP/AVP", more=f"m=audio 5002 RTP/SAVP 0\r\na=crypto:1 {SUITE} {KEY}\r\n")
    for policy in (REQUIRED, OPTIONAL):
        agreed = answer(body, policy)[1]
        assert agreed.index == 1
        assert agreed.secured is not None
    assert answer(body, FORBIDDEN)[1].index == 0


def test_an_encrypted_session_refuses_an_offer_in_the_clear() -> None:
    current = answer(offer("RTP/AVP", f"1 {SUITE} {KEY}"), OPTIONAL)[1]
    with pytest.raises(SdpError) as caught:
        answer(offer("RTP/AVP"), OPTIONAL, current=current)
    assert caught.value.status_hint == 488


# ------------------------------------------------------------------------------------ offering


def exchange(
    ours: LocalMedia, policy: Encryption, *suites: str
) -> tuple[Negotiated, Negotiated, bytes]:
    made = make_offer(CAPABILITIES, ours)
    theirs = LocalMedia(
        address="192.0.2.2",
        port=6000,
        session_id=2,
        version=1,
        security=Security(
            policy=policy,
            keys=tuple(MasterKey.generate(name) for name in suites or tuple(SUITES)),
        ),
    )
    described, far = answer_offer(parse_sdp(made.to_bytes()), CAPABILITIES, theirs)
    near = accept_answer(made, parse_sdp(described.to_bytes()), CAPABILITIES)
    return near, far, made.to_bytes()


@pytest.mark.parametrize("suite", SUITES)
def test_both_ends_agree_on_the_same_keys(suite: str) -> None:
    near, far, body = exchange(local(REQUIRED), REQUIRED, suite)
    assert b"RTP/SAVP " in body
    assert near.secured is not None
    assert far.secured is not None
    assert near.secured.suite == far.secured.suite == suite
    assert near.secured.ours.material == far.secured.theirs.material
    assert near.secured.theirs.material == far.secured.ours.material


def test_an_optional_offer_is_one_of_avp_with_keys() -> None:
    """RFC 8643 section 3.1."""
    near, _far, body = exchange(local(OPTIONAL), FORBIDDEN)
    assert b"RTP/AVP " in body
    assert body.count(b"a=crypto:") == 4
    assert near.secured is None
    near, _far, body = exchange(local(OPTIONAL, offers=False), OPTIONAL)
    assert b"crypto" not in body
    assert near.secured is None


def test_a_new_offer_keeps_profile_tag_suite_and_key() -> None:
    mine = local(OPTIONAL)
    near, _far, _body = exchange(mine, OPTIONAL, SUITE)
    again = make_offer(CAPABILITIES, mine.revised(), near).to_bytes()
    assert near.secured is not None
    line = f"a=crypto:{near.secured.tag} {SUITE} {near.secured.ours.inline()}\r\n"
    assert line.encode() in again
    assert again.count(b"a=crypto:") == 1
    assert b"RTP/AVP " in again


@pytest.mark.parametrize(
    "lines",
    [
        (),
        (f"1 {SUITE} {KEY}", f"2 AES_CM_128_HMAC_SHA1_32 {KEY}"),  # two
        (f"9 {SUITE} {KEY}",),  # a tag that was not offered
        (f"1 AES_CM_128_HMAC_SHA1_32 {KEY}",),  # another suite than the tag's
        (f"1 {SUITE} inline:x",),
        (f"1 {SUITE} {KEY} UNENCRYPTED_SRTP",),
    ],
)
def test_an_answer_that_is_none_is_refused(lines: tuple[str, ...]) -> None:
    """RFC 4568 section 5.1.3."""
    made = make_offer(CAPABILITIES, local(REQUIRED, SUITE))
    with pytest.raises(SdpError) as caught:
        accept_answer(made, parse_sdp(offer("RTP/SAVP", *lines)), CAPABILITIES)
    assert caught.value.status_hint == 488


def test_an_answer_in_the_clear_is_refused_where_it_must_not_be() -> None:
    made = make_offer(CAPABILITIES, local(OPTIONAL, SUITE))
    plain = parse_sdp(offer("RTP/AVP"))
    assert accept_answer(made, plain, CAPABILITIES).secured is None
    with pytest.raises(SdpError):
        accept_answer(made, plain, CAPABILITIES, must_encrypt=True)
    with pytest.raises(SdpError):  # another profile than the one offered
        accept_answer(made, parse_sdp(offer("RTP/SAVP", f"1 {SUITE} {KEY}")), CAPABILITIES)


def test_keys_do_not_show() -> None:
    made = make_offer(CAPABILITIES, local(REQUIRED))
    read = parse_sdp(offer("RTP/SAVP", f"1 {SUITE} {KEY}", more="k=clear:geheim\r\n"))
    agreed = answer(offer("RTP/SAVP", f"1 {SUITE} {KEY}"), REQUIRED)[1]
    shown = repr(made) + repr(read) + repr(agreed) + repr(local(REQUIRED))
    assert "crypto" in shown
    assert "inline" not in shown
    assert "geheim" not in shown
    assert str(agreed.secured and agreed.secured.ours.material) not in shown


def test_a_flood_of_lines_is_read_up_to_a_bound() -> None:
    many = tuple(f"{n} {SUITE} {KEY}" for n in range(1, 200))
    media: MediaDescription = parse_sdp(offer("RTP/SAVP", *many)).media[0]
    assert len(read_crypto(media)) == MAX_LINES


# ------------------------------------------------------------------------- calls to browsers

ICE = IceCredentials("oursours", "p" * 24)
WEB = Security(
    policy=OPTIONAL,
    fingerprint="sha-256 " + "AB:" * 31 + "AB",
    prefers_dtls=True,
    web=True,
    ice=ICE,
)


def web_offer(previous: Negotiated | None = None) -> str:
    mine = LocalMedia(address="192.0.2.1", port=4000, session_id=1, version=1, security=WEB)
    return make_offer(CAPABILITIES, mine, previous).to_bytes().decode()


def browser_answers(
    body: str, *, ice: bool, more: str = "a=rtcp-rsize\r\n", at: str = ""
) -> Negotiated:
    said = "a=ice-ufrag:abcd\r\na=ice-pwd:" + "q" * 22 + "\r\n" if ice else ""
    said += f"a=fingerprint:sha-256 {'CD:' * 31}CD\r\na=setup:active\r\na=rtcp-mux\r\na=mid:0\r\n"
    theirs = offer("UDP/TLS/RTP/SAVPF", more=said + more)
    if at:
        theirs, changed = re.subn(rb"c=IN IP4 \S+", f"c=IN IP4 {at}".encode(), theirs)
        assert changed
    return accept_answer(parse_sdp(body.encode()), parse_sdp(theirs), CAPABILITIES)


def test_an_offer_to_a_browser_has_one_bundle_ice_and_the_one_profile_that_it_takes() -> None:
    """RFC 8829 section 5.1.2, RFC 8445 section 2.5, RFC 9143; under an optional policy, too."""
    body = web_offer()
    session, _, stream = body.partition("m=audio 4000 UDP/TLS/RTP/SAVPF 0 8 101\r\n")
    assert "a=group:BUNDLE 0\r\n" in session
    assert "a=ice-lite\r\n" in session
    for line in ("mid:0", "rtcp-mux", "setup:actpass", "ice-ufrag:oursours", "end-of-candidates"):
        assert stream.count(f"a={line}\r\n") == 1, line
    assert " 192.0.2.1 4000 typ host\r\n" in stream


def test_what_was_agreed_with_a_browser_is_offered_again() -> None:
    agreed = browser_answers(web_offer(), ice=True)
    assert isinstance(agreed.secured, DtlsSecured)
    assert agreed.secured.ice == ICE
    assert not agreed.secured.is_client
    again = web_offer(agreed)
    assert again == web_offer()


def test_a_peer_without_ice_is_not_waited_for() -> None:
    agreed = browser_answers(web_offer(), ice=False)
    assert isinstance(agreed.secured, DtlsSecured)
    assert agreed.secured.ice is None
    assert "ice-" not in web_offer(agreed)


@pytest.mark.parametrize("at", ["0.0.0.0", "8a7c0f4e-5d6b-4a3c-9e21.local"])
def test_a_browser_that_names_no_address_is_not_on_hold(at: str) -> None:
    """RFC 8829 section 5.2.1: its checks say where it is. Without ICE 0.0.0.0 is hold."""
    found = browser_answers(web_offer(), ice=True, at=at)
    assert found.remote is None
    assert found.direction is Direction.SENDRECV
    held = browser_answers(web_offer(), ice=False, at="0.0.0.0")
    assert held.direction is Direction.RECVONLY
    assert found.rtcp_mux


def test_a_browser_may_not_answer_in_the_clear() -> None:
    for profile in ("RTP/AVP", "UDP/TLS/RTP/SAVPF"):
        with pytest.raises(SdpError):
            accept_answer(parse_sdp(web_offer().encode()), parse_sdp(offer(profile)), CAPABILITIES)


def test_reduced_reports_are_agreed_on_by_both() -> None:
    """RFC 5506 section 5: answered where offered, offered to browsers, kept in later offers."""
    for said, agreed in (("", False), ("a=rtcp-rsize\r\n", True)):
        body, answered = answer(offer("RTP/AVP", more=said), FORBIDDEN)
        assert (b"a=rtcp-rsize\r\n" in body) is agreed
        assert answered.reduced_rtcp is agreed
    assert web_offer().count("a=rtcp-rsize\r\n") == 1
    refused = browser_answers(web_offer(), ice=True, more="")
    assert not refused.reduced_rtcp
    assert "rtcp-rsize" not in web_offer(refused)
    taken = browser_answers(web_offer(), ice=True)
    assert taken.reduced_rtcp
    assert web_offer(taken).count("a=rtcp-rsize\r\n") == 1


FRESH = IceCredentials("freshone", "f" * 24)


def re_offered(ufrag: str, password: str, current: Negotiated | None) -> tuple[str, Negotiated]:
    said = f"a=ice-ufrag:{ufrag}\r\na=ice-pwd:{password}\r\na=setup:actpass\r\na=rtcp-mux\r\n"
    said += f"a=fingerprint:sha-256 {'CD:' * 31}CD\r\n"
    security = replace(WEB, fresh_ice=FRESH)
    mine = LocalMedia(address="192.0.2.1", port=4000, session_id=1, version=1, security=security)
    theirs = parse_sdp(offer("UDP/TLS/RTP/SAVPF", more=said))
    body, agreed = answer_offer(theirs, CAPABILITIES, mine, current)
    return body.to_bytes().decode(), agreed


@pytest.mark.parametrize(
    ("ufrag", "password", "anew"),
    [
        ("abcd", "q" * 22, False),
        ("efgh", "r" * 22, True),
        ("efgh", "q" * 22, True),
        ("abcd", "r" * 22, True),
    ],
)
def test_other_ice_credentials_of_the_peers_are_answered_with_others_of_ours(
    ufrag: str, password: str, anew: bool
) -> None:
    """RFC 8839 section 4.4: a change of either begins ICE anew. The certificate stays."""
    first, agreed = re_offered("abcd", "q" * 22, None)
    assert "a=ice-ufrag:oursours\r\n" in first
    second, again = re_offered(ufrag, password, agreed)
    assert (f"a=ice-ufrag:{FRESH.ufrag}\r\na=ice-pwd:{FRESH.password}\r\n" in second) is anew
    assert ("a=ice-ufrag:oursours\r\n" in second) is not anew
    assert isinstance(agreed.secured, DtlsSecured)
    assert isinstance(again.secured, DtlsSecured)
    assert replace(again.secured, ice=None) == replace(agreed.secured, ice=None)
    assert password not in repr(again)
