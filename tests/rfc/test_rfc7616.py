"""The examples of RFC 7616 section 3.9, to the letter."""

from __future__ import annotations

import pytest

from rtpmix.sip.credentials import hash_a1, hash_a2, hash_response, parse_digest
from rtpmix.sip.digest import answer_challenge
from rtpmix.sip.message import Response

NONCE = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
CNONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
OPAQUE = "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"
RESPONSES = {
    "MD5": "8ca523f5e9506fed4657c9700eebdbec",
    "SHA-256": "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
}


def challenge(algorithm: str) -> tuple[str, str]:
    return (
        "WWW-Authenticate",
        f'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={algorithm}, '
        f'nonce="{NONCE}", opaque="{OPAQUE}"',
    )


@pytest.mark.parametrize("algorithm", RESPONSES)
def test_section_3_9_1_one_algorithm(algorithm: str) -> None:
    """RFC 7616 section 3.9.1."""
    name, value = answer_challenge(
        Response.create(401, None, [challenge(algorithm)]),
        method="GET",
        uri="/dir/index.html",
        username="Mufasa",
        password="Circle of Life",
        cnonce=CNONCE,
    )
    assert name == "Authorization"
    assert parse_digest(value) == {
        "username": "Mufasa",
        "realm": "http-auth@example.org",
        "uri": "/dir/index.html",
        "algorithm": algorithm,
        "nonce": NONCE,
        "nc": "00000001",
        "cnonce": CNONCE,
        "qop": "auth",
        "response": RESPONSES[algorithm],
        "opaque": OPAQUE,
    }


def test_section_3_9_1_the_stronger_of_two() -> None:
    """RFC 7616 section 3.9.1: the example's server sends both."""
    _, value = answer_challenge(
        Response.create(401, None, [challenge("MD5"), challenge("SHA-256")]),
        method="GET",
        uri="/dir/index.html",
        username="Mufasa",
        password="Circle of Life",
        cnonce=CNONCE,
    )
    assert parse_digest(value)["response"] == RESPONSES["SHA-256"]


def test_section_3_9_2_sha_512_256() -> None:
    """RFC 7616 section 3.9.2, as corrected by erratum 4897: the printed value is not SHA-512/256.

    The name and its hash hold octets beyond ASCII.
    """
    a1 = hash_a1("SHA-512-256", "J\u00e4s\u00f8n Doe", "api@example.org", "Secret, or not?")
    a2 = hash_a2("SHA-512-256", "auth", "GET", "/doe.json", b"")
    nonce, cnonce = (
        "5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK",
        "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v",
    )
    response = hash_response("SHA-512-256", a1, f"{nonce}:00000001:{cnonce}:auth", a2)
    assert response == "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5"


def test_rfc_2069_credentials_are_still_made_for_a_server_that_offers_no_qop() -> None:
    """RFC 3261 section 22.4: without qop the response is H(H(A1) : nonce : H(A2))."""
    _, value = answer_challenge(
        Response.create(401, None, [("WWW-Authenticate", 'Digest realm="r", nonce="n"')]),
        method="REGISTER",
        uri="sip:r",
        username="u",
        password="p",
        cnonce="unused",
    )
    fields = parse_digest(value)
    # md5("md5(u:r:p):n:md5(REGISTER:sip:r)"), from md5sum
    assert fields["response"] == "5790559ba44538767b07fb5adb649909"
    assert not {"nc", "cnonce", "qop"} & fields.keys()
