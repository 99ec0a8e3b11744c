"""Digest challenges answered inside the user agent (RFC 3261 section 22)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from rtpmix.sip.authentication import MAX_ATTEMPTS, Credential
from rtpmix.sip.digest import Authenticator, Outcome
from rtpmix.sip.message import Request, Response, respond
from tests.sip.agents import ANSWER, OFFER, Bob, live

SECRETS = {"trunk": "s3cret"}
GOOD = Credential("trunk", "s3cret")
CONTACT = ("Contact", "<sip:alice@192.0.2.1:5060>")


def authenticator(realm: str = "example.com", **more: object) -> Authenticator:
    return Authenticator(realm, SECRETS.get, secret_key=b"k" * 32, **more)  # type: ignore[arg-type]


class Client:
    """A user agent that calls; the test answers it by hand."""

    def __init__(self) -> None:
        self.peer = Bob()
        self.agent = self.peer.agent

    def invite(self, credentials: object = GOOD) -> int:
        return self.agent.invite(
            "sip:alice@192.0.2.1",
            flow=self.peer.flow,
            from_uri="sip:bob@192.0.2.2",
            body=OFFER,
            credentials=credentials,  # type: ignore[arg-type]
            now=self.peer.now,
        )

    def request(self, method: str) -> Request:
        """Return the last request of that method which it has sent."""
        self.peer.drain()
        found = [m for _, _, m in self.peer.sent if isinstance(m, Request) and m.method == method]
        return found[-1]

    def answer(
        self,
        request: Request,
        status: int,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
    ) -> None:
        response = respond(request, status, to_tag="alice1", headers=headers, body=body)
        self.peer.take(response.to_bytes())

    def call(self) -> tuple[int, Authenticator]:
        """Bring it into a call with a server that asks for a login."""
        guard = authenticator()
        number = self.invite()
        self.answer(self.request("INVITE"), 401, guard.challenge(0.0))
        self.answer(self.request("INVITE"), 200, [CONTACT], ANSWER)
        self.peer.drain()
        return number, guard


def test_an_invite_is_repeated_with_the_answer_to_its_challenge() -> None:
    """RFC 3261 section 8.1.3.5: same Call-ID, From and To, a CSeq one higher, a new branch."""
    client, guard = Client(), authenticator()
    number = client.invite()
    first = client.request("INVITE")
    client.answer(first, 401, guard.challenge(0.0))
    again = client.request("INVITE")
    assert (again.call_id, str(again.from_)) == (first.call_id, str(first.from_))
    assert (again.cseq.number, again.to.tag, again.body) == (2, None, first.body)
    assert again.via.branch != first.via.branch
    assert guard.check(again, 0.0).user == "trunk"
    client.answer(again, 200, [CONTACT], ANSWER)
    assert [event.call for event in client.peer.events("Answered")] == [number]
    assert client.peer.events("Failed") == []
    ack = client.request("ACK")
    assert ack.cseq.number == 2
    assert ack.headers.get("Authorization") == again.headers.get("Authorization")  # section 22.1


def test_a_proxy_and_the_server_behind_it_are_both_satisfied() -> None:
    """Section 22.3: the credentials of every realm are kept, with a nonce count that goes up."""
    client, proxy, server = Client(), authenticator("proxy"), authenticator("server")
    client.invite()
    client.answer(client.request("INVITE"), 407, proxy.challenge(0.0, proxy=True))
    second = client.request("INVITE")
    assert proxy.check(second, 0.0, proxy=True).outcome is Outcome.OK
    client.answer(second, 401, server.challenge(0.0))
    third = client.request("INVITE")
    assert proxy.check(third, 0.0, proxy=True).outcome is Outcome.OK
    assert server.check(third, 0.0).outcome is Outcome.OK


def test_two_proxies_that_ask_at_once_are_both_answered() -> None:
    client, first, second = Client(), authenticator("one"), authenticator("two")
    client.invite()
    both = [*first.challenge(0.0, proxy=True), *second.challenge(0.0, proxy=True)]
    client.answer(client.request("INVITE"), 407, both)
    again = client.request("INVITE")
    assert first.check(again, 0.0, proxy=True).user == "trunk"
    assert second.check(again, 0.0, proxy=True).user == "trunk"


def test_a_wrong_password_fails_after_one_attempt() -> None:
    client, guard = Client(), authenticator()
    client.invite(Credential("trunk", "wrong"))
    client.answer(client.request("INVITE"), 401, guard.challenge(0.0))
    client.answer(client.request("INVITE"), 401, guard.challenge(0.0))
    assert [event.status for event in client.peer.events("Failed")] == [401]
    assert client.request("INVITE").cseq.number == 2


def test_a_stale_nonce_is_answered_again_and_again_but_not_for_ever() -> None:
    """RFC 7616 section 3.3: stale means the password was right."""
    client, guard = Client(), authenticator()
    client.invite()
    client.answer(client.request("INVITE"), 401, guard.challenge(0.0))
    for _ in range(50):
        client.answer(client.request("INVITE"), 401, guard.challenge(0.0, stale=True))
    assert client.request("INVITE").cseq.number == 1 + MAX_ATTEMPTS
    assert [event.status for event in client.peer.events("Failed")] == [401]
    client.peer.run(100.0)
    assert live(client.agent) == {}


@pytest.mark.parametrize(
    "challenge",
    [
        "",
        "Basic realm=x",
        'Digest realm="x", nonce="n", algorithm=ROT13',
        "Digest",
        'Digest realm="',
    ],
)
def test_a_challenge_that_can_not_be_answered_fails_the_call(challenge: str) -> None:
    client = Client()
    client.invite()
    client.answer(client.request("INVITE"), 401, [("WWW-Authenticate", challenge)])
    assert [event.status for event in client.peer.events("Failed")] == [401]


def test_credentials_are_chosen_by_realm_and_unknown_realms_learn_nothing() -> None:
    client, guard = Client(), authenticator("stranger")
    asked: list[str] = []

    def choose(realm: str) -> Credential | None:
        asked.append(realm)
        return GOOD if realm == "example.com" else None

    client.invite(choose)
    client.answer(client.request("INVITE"), 401, guard.challenge(0.0))
    assert set(asked) == {"stranger"}
    assert [event.status for event in client.peer.events("Failed")] == [401]


def test_a_call_that_was_given_up_does_not_answer_challenges() -> None:
    client, guard = Client(), authenticator()
    number = client.invite()
    client.agent.cancel(number, 0.0)
    client.answer(client.request("INVITE"), 401, guard.challenge(0.0))
    assert client.request("INVITE").cseq.number == 1
    client.peer.run(100.0)
    assert live(client.agent) == {}


def test_early_dialogs_of_the_challenged_attempt_are_gone() -> None:
    client, guard = Client(), authenticator()
    client.invite()
    first = client.request("INVITE")
    client.answer(first, 183, [CONTACT])
    assert client.agent.snapshot()["dialogs"] == 1
    client.answer(first, 401, guard.challenge(0.0))
    assert client.agent.snapshot()["dialogs"] == 0


COMMANDS: dict[str, Callable[[Client, int], object]] = {
    "INVITE": lambda client, call: client.agent.reinvite(call, OFFER, 0.0),
    "INFO": lambda client, call: client.agent.request("INFO", call=call, now=0.0),
    "BYE": lambda client, call: client.agent.bye(call, 0.0),
}


@pytest.mark.parametrize("method", COMMANDS)
def test_requests_in_the_call_carry_credentials_and_answer_new_challenges(method: str) -> None:
    client = Client()
    number, guard = client.call()
    COMMANDS[method](client, number)
    first = client.request(method)
    assert guard.check(first, 0.0).user == "trunk"  # unasked
    client.answer(first, 401, guard.challenge(0.0))
    second = client.request(method)
    assert second.cseq.number == first.cseq.number + 1
    assert guard.check(second, 0.0).user == "trunk"
    client.answer(second, 200, [CONTACT], ANSWER if method == "INVITE" else b"")
    told = {"INVITE": "ReinviteAnswered", "INFO": "Responded", "BYE": "Ended"}[method]
    assert len(client.peer.events(told)) == 1
    if method != "BYE":
        assert client.peer.events(told)[0].status == 200
        client.agent.bye(number, client.peer.now)
        client.answer(client.request("BYE"), 200)
    client.peer.run(100.0)
    assert live(client.agent) == {}


def test_a_bye_that_no_credentials_satisfy_still_ends_the_call() -> None:
    client = Client()
    number, guard = client.call()
    client.agent.bye(number, 0.0)
    for _ in range(3):
        client.answer(client.request("BYE"), 407, guard.challenge(0.0, proxy=True))
    client.peer.run(100.0)
    assert live(client.agent) == {}


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256", "SHA-512-256"])
@pytest.mark.parametrize("qop", ["auth", "auth-int"])
def test_a_registration_is_repeated_with_credentials(algorithm: str, qop: str) -> None:
    client = Client()
    guard = authenticator(algorithms=(algorithm,), qop=(qop,))
    number = client.agent.request(
        "REGISTER",
        "sip:example.com",
        flow=client.peer.flow,
        from_uri="sip:bob@example.com",
        to_uri="sip:bob@example.com",
        credentials=GOOD,
        now=0.0,
    )
    client.answer(client.request("REGISTER"), 401, guard.challenge(0.0))
    again = client.request("REGISTER")
    assert (again.cseq.number, guard.check(again, 0.0).user) == (2, "trunk")
    client.answer(again, 200)
    (done,) = client.peer.events("Responded")
    assert (done.request, done.status) == (number, 200)
    client.peer.run(100.0)
    assert live(client.agent) == {}


def test_a_challenge_that_is_never_answered_times_out_as_the_one_request_it_is() -> None:
    client, guard = Client(), authenticator()
    client.agent.request(
        "OPTIONS",
        "sip:example.com",
        flow=client.peer.flow,
        from_uri="sip:b@c",
        credentials=GOOD,
        now=0.0,
    )
    client.answer(client.request("OPTIONS"), 401, guard.challenge(0.0))
    client.peer.run(100.0)
    assert [event.status for event in client.peer.events("Responded")] == [408]
    assert live(client.agent) == {}


def test_a_callee_answers_the_challenges_of_a_trunk() -> None:
    bob, guard = Bob(), authenticator()
    number = bob.invited()
    bob.agent.accept(number, 0.0, ANSWER, credentials=GOOD)
    accepted = bob.drain()[-1]
    assert isinstance(accepted, Response)
    bob.agent.bye(number, 0.0)
    bob.run(33.0)  # no ACK came
    byes = [m for _, _, m in bob.sent if isinstance(m, Request) and m.method == "BYE"]
    bob.take(respond(byes[-1], 401, headers=guard.challenge(bob.now)).to_bytes())
    again = bob.sent[-1][2]
    assert isinstance(again, Request)
    assert guard.check(again, bob.now).user == "trunk"


def test_a_password_is_not_in_a_representation() -> None:
    assert "s3cret" not in f"{GOOD!r} {GOOD}"
