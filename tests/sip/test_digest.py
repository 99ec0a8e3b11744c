"""rtpmix.sip.digest: who is let in, who is not, and what neither can find out."""

from __future__ import annotations

import logging
import random
import statistics
import time
from collections.abc import Callable

import pytest

import rtpmix.sip.credentials as credentials_module
from rtpmix.errors import SipParseError, UsageError
from rtpmix.sip.credentials import Secret, hash_a1
from rtpmix.sip.digest import Authenticator, Outcome, Verdict, answer_challenge
from rtpmix.sip.message import Request, Response, parse_message
from rtpmix.sip.throttle import LoginThrottle

KEY = bytes(range(32))
USERS: dict[str, str | Secret] = {
    "alice": "wonderland",
    'o\'neil "the\\boss"': "p:a:ss",
    "j\u00e4s\u00f8n doe": "secr\u00e9t",
    "hashed": Secret(hashes={"SHA-256": hash_a1("SHA-256", "hashed", "pbx.test", "pw")}),
}


def authenticator(**changes: object) -> Authenticator:
    settings: dict[str, object] = {"secret_key": KEY, **changes}
    return Authenticator("pbx.test", USERS.get, **settings)  # type: ignore[arg-type]


def request(
    *credentials: tuple[str, str],
    method: str = "REGISTER",
    uri: str = "sip:pbx.test",
    body: bytes = b"",
) -> Request:
    made = Request.create(
        method,
        uri,
        [
            ("Via", "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1"),
            ("From", "<sip:alice@pbx.test>;tag=1"),
            ("To", "<sip:alice@pbx.test>"),
            ("Call-ID", "c1"),
            ("CSeq", f"1 {method}"),
            *credentials,
        ],
        body,
        "text/plain",
    )
    parsed = parse_message(made.to_bytes())
    assert isinstance(parsed, Request)
    return parsed


def credentials(
    gate: Authenticator,
    user: str = "alice",
    password: str = "wonderland",
    *,
    at: float = 0.0,
    nc: int = 1,
    algorithm: str | None = None,
    proxy: bool = False,
    uri: str = "sip:pbx.test",
    method: str = "REGISTER",
    body: bytes = b"",
) -> tuple[str, str]:
    """Answer one fresh challenge of `gate`, as a phone does."""
    headers = gate.challenge(at, proxy=proxy)
    if algorithm is not None:
        headers = [header for header in headers if f"algorithm={algorithm}," in header[1]]
    return answer_challenge(
        Response.create(407 if proxy else 401, None, headers),
        method=method,
        uri=uri,
        username=user,
        password=password,
        cnonce="abc",
        nc=nc,
        body=body,
    )


def changed(header: tuple[str, str], old: str, new: str) -> tuple[str, str]:
    assert old in header[1]
    return header[0], header[1].replace(old, new)


# -------------------------------------------------------------------------------- challenge


def test_a_challenge_lists_one_header_for_each_algorithm_best_first() -> None:
    """RFC 8760 section 2.3; RFC 7616 section 3.3 for what is quoted."""
    headers = authenticator(algorithms=("SHA-512-256", "SHA-256", "MD5")).challenge(1.0)
    assert [name for name, _ in headers] == ["WWW-Authenticate"] * 3
    for (_, value), algorithm in zip(headers, ("SHA-512-256", "SHA-256", "MD5"), strict=True):
        assert value.startswith('Digest realm="pbx.test", nonce="')
        assert f"algorithm={algorithm}, " in value
        assert value.endswith('qop="auth"')
        assert "stale" not in value


def test_md5_stands_first_by_default() -> None:
    """Many clients read the first challenge only, and know nothing but MD5."""
    (_, first), (_, second) = authenticator().challenge(1.0)
    assert "algorithm=MD5," in first
    assert "algorithm=SHA-256," in second


@pytest.mark.parametrize(
    ("user_agent", "offered"),
    [
        ("baresip v1.0.0 (x86_64/linux)", 1),
        ("SIP.js/0.21.1", 1),
        ("baresip v3.4.0", 2),
        ("phone", 2),
        (None, 2),
    ],
)
def test_a_client_that_gives_up_at_sha_256_is_offered_md5_alone(
    user_agent: str | None, offered: int
) -> None:
    """RFC 8760 section 2.4 says otherwise; the phones are there all the same."""
    headers = authenticator().challenge(1.0, user_agent=user_agent)
    assert len(headers) == offered
    assert "algorithm=MD5," in headers[0][1]
    strong = authenticator(algorithms=("SHA-256",))
    assert "algorithm=SHA-256," in strong.challenge(1.0, user_agent=user_agent)[0][1]


def test_a_challenge_can_say_stale_and_come_from_a_proxy() -> None:
    (name, value), _ = authenticator().challenge(1.0, proxy=True, stale=True)
    assert name == "Proxy-Authenticate"
    assert "stale=true" in value


# ----------------------------------------------------------------------------------- verdict


@pytest.mark.parametrize("algorithm", ["SHA-512-256", "SHA-256", "MD5"])
@pytest.mark.parametrize("proxy", [False, True])
def test_the_right_password_is_let_in(algorithm: str, proxy: bool) -> None:
    gate = authenticator(algorithms=("SHA-512-256", "SHA-256", "MD5"))
    header = credentials(gate, algorithm=algorithm, proxy=proxy)
    assert gate.check(request(header), 1.0, proxy=proxy) == Verdict(Outcome.OK, "alice")
    assert gate.check(request(header), 1.0, proxy=not proxy).outcome is Outcome.MISSING


@pytest.mark.parametrize("user", ['o\'neil "the\\boss"', "j\u00e4s\u00f8n doe"])
def test_names_with_odd_characters_are_let_in(user: str) -> None:
    """RFC 7616 section 3.4.5: quotes and backslashes are undone before hashing; UTF-8 stays."""
    gate = authenticator()
    password = USERS[user]
    assert isinstance(password, str)
    header = credentials(gate, user, password)
    assert gate.check(request(header), 1.0) == Verdict(Outcome.OK, user)


def test_a_user_of_whom_only_a_hash_is_known_is_let_in_by_that_algorithm() -> None:
    """RFC 7616 section 5.2."""
    gate = authenticator()
    assert gate.check(request(credentials(gate, "hashed", "pw")), 1.0).outcome is Outcome.OK
    other = credentials(gate, "hashed", "pw", algorithm="MD5")
    assert gate.check(request(other), 1.0).outcome is Outcome.WRONG


@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("alice", "wonderlanD"),
        ("alice", ""),
        ("Alice", "wonderland"),
        ("bob", "wonderland"),
        ("a:b", "x"),
    ],
)
def test_unknown_users_and_wrong_passwords_get_the_same_answer(user: str, password: str) -> None:
    gate = authenticator()
    assert gate.check(request(credentials(gate, user, password)), 1.0) == Verdict(Outcome.WRONG)


def test_a_user_name_with_a_colon_cannot_borrow_a_realm() -> None:
    """RFC 7616 section 3.4.4: A1 must have one reading only."""
    gate = Authenticator("r", {"a:b": "pw"}.get, secret_key=KEY)
    assert gate.check(request(credentials(gate, "a:b", "pw")), 1.0).outcome is Outcome.WRONG


def test_without_credentials_for_us_the_outcome_is_missing() -> None:
    """RFC 3261 section 22.3: credentials for other realms are not ours to judge."""
    gate = authenticator()
    other = Authenticator("elsewhere", USERS.get, secret_key=KEY)
    weak = authenticator(algorithms=("MD5",))
    assert gate.check(request(), 1.0).outcome is Outcome.MISSING
    assert gate.check(request(("Authorization", "Basic eA==")), 1.0).outcome is Outcome.MISSING
    assert gate.check(request(credentials(other)), 1.0).outcome is Outcome.MISSING
    strong_only = authenticator(algorithms=("SHA-256",))
    assert strong_only.check(request(credentials(weak)), 1.0).outcome is Outcome.MISSING
    both = request(credentials(other), credentials(gate))
    assert gate.check(both, 1.0).outcome is Outcome.OK


def test_an_expired_nonce_with_the_right_password_is_stale() -> None:
    """RFC 7616 section 3.3: stale tells the phone to try again without asking its user."""
    gate = authenticator(nonce_lifetime=60.0)
    assert gate.check(request(credentials(gate, at=0.0)), 60.0).outcome is Outcome.OK
    assert gate.check(request(credentials(gate, at=0.0)), 60.1).outcome is Outcome.STALE
    wrong = credentials(gate, password="no", at=0.0)
    assert gate.check(request(wrong), 60.1).outcome is Outcome.WRONG


def test_a_nonce_of_before_a_restart_is_stale() -> None:
    before = authenticator(secret_key=bytes(32))
    assert authenticator().check(request(credentials(before)), 1.0).outcome is Outcome.STALE


def test_an_answer_is_good_once() -> None:
    """RFC 7616 section 3.4: nc tells a replay; section 5.5."""
    gate = authenticator()
    challenge = Response.create(401, None, gate.challenge(0.0))

    def answer(nc: int) -> Request:
        return request(
            answer_challenge(
                challenge,
                method="REGISTER",
                uri="sip:pbx.test",
                username="alice",
                password="wonderland",
                cnonce="c",
                nc=nc,
            )
        )

    outcomes = [gate.check(answer(nc), 1.0).outcome for nc in (1, 1, 2, 4, 3, 3, 2)]
    used, again = Outcome.OK, Outcome.REPLAYED
    assert outcomes == [used, again, used, used, used, again, again]


def test_a_changed_count_does_not_refresh_a_replay() -> None:
    gate = authenticator()
    header = credentials(gate)
    assert gate.check(request(header), 1.0).outcome is Outcome.OK
    forged = changed(header, "nc=00000001", "nc=00000002")
    assert gate.check(request(forged), 1.0).outcome is Outcome.WRONG


def test_credentials_are_bound_to_method_and_uri() -> None:
    """RFC 7616 sections 3.4.3 and 3.4.6."""
    gate = authenticator()
    taken = credentials(gate)
    assert gate.check(request(taken, method="INVITE"), 1.0).outcome is Outcome.WRONG
    elsewhere = request(taken, uri="sip:eve@pbx.test")
    assert gate.check(elsewhere, 1.0).outcome is Outcome.MALFORMED
    same = credentials(gate, uri="sip:PBX.TEST")
    assert gate.check(request(same), 1.0).outcome is Outcome.OK


def test_auth_int_binds_the_body_too() -> None:
    """RFC 7616 section 3.4.3."""
    gate = authenticator(qop=("auth-int",))
    header = credentials(gate, body=b"hello")
    assert "qop=auth-int" in header[1]
    assert gate.check(request(header, body=b"hellO"), 1.0).outcome is Outcome.WRONG
    assert gate.check(request(header, body=b"hello"), 1.0).outcome is Outcome.OK


@pytest.mark.parametrize(
    "damage",
    [
        lambda header: changed(header, "qop=auth, ", ""),
        lambda header: changed(header, "qop=auth, ", "qop=auth-int, "),
        lambda header: changed(header, ", nc=00000001", ""),
        lambda header: changed(header, "nc=00000001", "nc=1"),
        lambda header: changed(header, "nc=00000001", "nc=00000000"),
        lambda header: changed(header, "nc=00000001", "nc=0000000g"),
        lambda header: changed(header, 'cnonce="abc"', 'cnonce=""'),
        lambda header: changed(header, 'username="alice", ', ""),
        lambda header: changed(header, 'username="alice"', 'username="alice", username="alice"'),
        lambda header: changed(header, 'uri="sip:pbx.test"', 'uri="/index.html"'),
        lambda header: changed(header, 'uri="sip:pbx.test"', 'uri="sip:\\"@x"'),
        lambda header: (header[0], header[1] + ', x="'),
    ],
)
def test_damaged_credentials_are_malformed(
    damage: Callable[[tuple[str, str]], tuple[str, str]],
) -> None:
    """RFC 7616 section 3.4: improper or missing parameters are a 4xx."""
    gate = authenticator()
    header = damage(credentials(gate))
    assert gate.check(request(header), 1.0) == Verdict(Outcome.MALFORMED)


def test_a_response_that_is_no_text_is_only_wrong() -> None:
    gate = authenticator()
    name, value = credentials(gate)
    start = value.index('response="') + len('response="')
    forged = (name, value[:start] + "\u00e9" * 64 + value[start + 64 :])
    assert gate.check(request(forged), 1.0).outcome is Outcome.WRONG


def test_random_credentials_raise_nothing_and_fill_nothing() -> None:
    """Seeded: only a proved password is remembered, so nobody else can fill the table."""
    chance = random.Random(7616)
    gate = authenticator()
    name, value = credentials(gate)
    seen: set[Outcome] = set()
    for _ in range(3000):
        text = list(value)
        for _ in range(chance.randrange(1, 6)):
            at = chance.randrange(len(text))
            text[at] = chance.choice(' ",=\\abz09\u00e9')
        verdict = gate.check(request((name, "".join(text))), 1.0)
        seen.add(verdict.outcome)
        assert verdict.user in (None, "alice")  # a change that no hash covers, as of letter case
    assert {Outcome.WRONG, Outcome.MALFORMED, Outcome.MISSING} <= seen
    assert gate.remembered <= 1


def test_the_table_is_bounded() -> None:
    gate = authenticator(max_nonces=5)
    for at in range(50):
        header = credentials(gate, at=float(at))
        assert gate.check(request(header), float(at)).outcome is Outcome.OK
    assert gate.remembered == 5


def test_unknown_users_cost_what_known_ones_cost() -> None:
    """Enumeration by time: medians of interleaved runs differ by far less than a millisecond."""
    gate = authenticator()
    known = request(credentials(gate, "alice", "wrong"))
    unknown = request(credentials(gate, "nobody-of-that-name", "wrong"))
    spent: dict[int, list[float]] = {0: [], 1: []}
    for turn in range(600):
        start = time.thread_time()
        gate.check((known, unknown)[turn % 2], 1.0)
        spent[turn % 2].append(time.thread_time() - start)
    assert abs(statistics.median(spent[0]) - statistics.median(spent[1])) < 50e-6


def test_nothing_secret_is_shown_or_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        gate = authenticator()
        gate.check(request(credentials(gate)), 1.0)
        gate.check(request(credentials(gate, "alice", "no")), 1.0)
    shown = repr(gate) + str(vars(gate)["_nobody"]) + caplog.text
    assert KEY.hex() not in shown
    assert repr(KEY) not in shown
    assert "wonderland" not in shown


# ----------------------------------------------------------------------------------- client


def test_the_strongest_known_algorithm_is_answered() -> None:
    """RFC 8760 section 2.4: what is not understood is ignored."""
    challenges = [
        ("WWW-Authenticate", 'Digest realm="r", nonce="n1", algorithm=MD5, qop="auth"'),
        ("WWW-Authenticate", 'Digest realm="r", nonce="n2", algorithm=SHA-9, qop="auth"'),
        ("WWW-Authenticate", 'Digest realm="r", nonce="n3", algorithm=SHA-256, qop="auth"'),
        ("WWW-Authenticate", 'Digest realm="r", algorithm=SHA-512-256, qop="auth"'),
        ("WWW-Authenticate", "Basic realm=r"),
    ]
    name, value = answer_challenge(
        Response.create(401, None, challenges),
        method="INVITE",
        uri="sip:a@b",
        username="u",
        password="p",
        cnonce="c",
    )
    assert name == "Authorization"
    assert 'nonce="n3"' in value
    assert "algorithm=SHA-256" in value


def test_opaque_is_given_back() -> None:
    """RFC 7616 section 3.3."""
    challenge = ("Proxy-Authenticate", 'Digest realm="r", nonce="n", opaque="a\\"b", qop="auth"')
    name, value = answer_challenge(
        Response.create(407, None, [challenge]),
        method="INVITE",
        uri="sip:a@b",
        username="u",
        password="p",
        cnonce="c",
    )
    assert name == "Proxy-Authorization"
    assert 'opaque="a\\"b"' in value


@pytest.mark.parametrize(
    "challenges",
    [
        [],
        [("WWW-Authenticate", "Basic realm=r")],
        [("WWW-Authenticate", 'Digest realm="r", nonce="n", algorithm=SHA-9')],
        [("Proxy-Authenticate", 'Digest realm="r", nonce="n"')],
    ],
)
def test_a_challenge_that_cannot_be_answered_is_an_error(challenges: list[tuple[str, str]]) -> None:
    with pytest.raises(SipParseError, match="no challenge"):
        answer_challenge(
            Response.create(401, None, challenges),
            method="INVITE",
            uri="sip:a@b",
            username="u",
            password="p",
            cnonce="c",
        )


@pytest.mark.parametrize(
    "changes",
    [
        {"secret_key": b"short"},
        {"algorithms": ()},
        {"algorithms": ("SHA-1",)},
        {"qop": ()},
        {"qop": ("none",)},
        {"nonce_lifetime": 0},
        {"max_nonces": 0},
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        authenticator(**changes)


# ------------------------------------------------------------------------------- guessing


@pytest.mark.parametrize("algorithm", ["SHA-512-256", "SHA-256", "MD5"])
@pytest.mark.parametrize("qop", ["auth", "auth-int"])
def test_unknown_users_and_every_kind_of_secret_cost_the_same_hashes(
    monkeypatch: pytest.MonkeyPatch, algorithm: str, qop: str
) -> None:
    """Enumeration by time: what is counted is work, so the test is exact."""
    users: dict[str, str | Secret] = {
        "clear": "pw",
        "hashed": Secret.hashed("hashed", "pbx.test", "pw"),
        "partly": Secret.hashed("partly", "pbx.test", "pw", ["SHA-256"]),
    }
    gate = Authenticator("pbx.test", users.get, secret_key=KEY, algorithms=(algorithm,), qop=(qop,))
    work: list[int] = []
    plain = credentials_module._digest

    def counted(name: str, data: bytes) -> str:
        work.append(len(data))
        return plain(name, data)

    spent = []
    for user in ("clear", "hashed", "partly", "nobody"):
        header = credentials(gate, user, "guess", body=b"x" * 500)
        with monkeypatch.context() as patch:
            patch.setattr(credentials_module, "_digest", counted)
            work.clear()
            assert gate.check(request(header, body=b"x" * 500), 1.0).outcome is Outcome.WRONG
        spent.append(len(work))
    assert len(set(spent)) == 1, spent


def test_guesses_are_not_looked_at_past_their_bound_not_even_right_ones() -> None:
    gate = authenticator(throttle=LoginThrottle())
    for _ in range(5):
        wrong = request(credentials(gate, "alice", "guess"))
        assert gate.check(wrong, 1.0, source="192.0.2.66").outcome is Outcome.WRONG
    right = request(credentials(gate))
    verdict = gate.check(right, 1.0, source="192.0.2.66")
    assert (verdict.outcome, verdict.user) == (Outcome.THROTTLED, None)
    assert verdict.throttled is not None
    assert verdict.throttled.retry_after == pytest.approx(0.2)
    assert gate.check(right, 1.0, source="192.0.2.9") == Verdict(Outcome.OK, "alice")


def test_a_user_name_of_any_length_is_not_kept() -> None:
    gate = authenticator(throttle=LoginThrottle())
    header = credentials(gate, "a" * 5000, "guess")
    assert gate.check(request(header), 1.0, source="192.0.2.66").outcome is Outcome.MALFORMED
