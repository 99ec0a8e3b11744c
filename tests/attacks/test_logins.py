"""Attacks on logins: enumeration, guessing, replay (RFC 7616 section 5)."""

from __future__ import annotations

import asyncio

import pytest

import rtpmix
from rtpmix.sip.message import Response
from tests.attacks.attacker import (
    OFFER,
    REALM,
    USERS,
    Attacker,
    besiege,
    compose,
    credentials,
    register,
)


def shape(response: Response) -> tuple[object, ...]:
    """Everything of an answer but what is different in each: the nonce and the tags."""
    names = [name for name, _ in response.headers.items()]
    challenges = [
        value.split("nonce=")[0] for value in response.headers.get_all("WWW-Authenticate")
    ]
    return response.status, response.reason, names, challenges, len(response.to_bytes())


@pytest.mark.parametrize("method", ["REGISTER", "INVITE"])
def test_no_answer_tells_whether_a_user_exists(method: str) -> None:
    """Without credentials, with wrong ones, and when throttled; names of one length."""

    async def story(server: rtpmix.Server) -> None:
        seen: dict[str, list[object]] = {}
        for user, last in (("alice", 66), ("nobdy", 67)):
            async with Attacker(f"192.0.2.{last}") as attacker:
                answers = []
                challenge = None
                for _ in range(8):
                    address = f"<sip:{user}@{REALM}>"
                    proof = (
                        credentials(challenge, user, "guess", method=method) if challenge else None
                    )
                    response = await attacker.ask(
                        compose(
                            method,
                            sender=address,
                            to=address,
                            host=attacker.address[0],
                            headers=(proof,) if proof else (),
                            body=OFFER if method == "INVITE" else b"",
                        )
                    )
                    answers.append(shape(response)[:4])
                    challenge = response if response.status == 401 else challenge
                seen[user] = answers
        assert seen["alice"] == seen["nobdy"]
        assert [answer[0] for answer in seen["alice"]] == [401] * 6 + [503] * 2  # type: ignore[index]

    besiege(story)


def test_a_guesser_gets_ten_tries_a_second_and_is_told_of_once() -> None:
    async def story(server: rtpmix.Server) -> None:
        events = server.events()
        async with Attacker() as attacker:
            challenge = await attacker.ask(register("alice"))
            for number in range(1000):  # in one second
                attacker.throw(register("alice", credentials(challenge, "alice", f"guess{number}")))
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.1)
        logins = server.snapshot()["logins"]
        assert 5 <= logins["wrong"] <= 10
        assert logins["wrong"] + logins["throttled"] == 1000
        told = []
        while (event := await next_event(events)) is not None:
            told += [event] if isinstance(event, rtpmix.LoginThrottled) else []
        assert told
        assert len(told) <= 10  # an episode ends with each token
        assert told[0].source == "192.0.2.66"
        refused = [each for each in attacker.responses if each.status == 503]
        assert all(each.headers.get("Retry-After") == "1" for each in refused)

    besiege(story, requests_per_source=2000.0)


async def next_event(events: object) -> rtpmix.Event | None:
    try:
        async with asyncio.timeout(0.01):
            return await anext(events)  # type: ignore[call-overload, no-any-return]
    except TimeoutError:
        return None


def test_a_guesser_does_not_lock_the_user_out() -> None:
    async def story(server: rtpmix.Server) -> None:
        async with Attacker() as attacker, Attacker("192.0.2.10") as phone:
            assert (await phone.log_in("alice", USERS["alice"])).status == 200
            challenge = await attacker.ask(register("alice"))
            for number in range(100):
                attacker.throw(register("alice", credentials(challenge, "alice", f"guess{number}")))
            await asyncio.sleep(0.1)
            right = await attacker.log_in("alice", USERS["alice"], nonce_of=challenge)
            assert right.status == 503  # the attacker's right guess is not looked at
            assert (await phone.log_in("alice", USERS["alice"])).status == 200

    besiege(story)


def test_a_login_that_was_overheard_is_of_no_use() -> None:
    """RFC 7616 section 5.5: the same bytes, a changed method, body or count, another server."""

    async def story(server: rtpmix.Server) -> int:
        async with Attacker() as victim, Attacker("192.0.2.67") as attacker:
            challenge = await victim.ask(register("alice"))
            proof = credentials(challenge, "alice", USERS["alice"])
            assert (await victim.ask(register("alice", proof))).status == 200
            replayed = await attacker.ask(register("alice", proof, contact="<sip:x@192.0.2.67>"))
            assert replayed.status == 401
            assert "stale=true" in (replayed.headers.get("WWW-Authenticate") or "")
            raised = (proof[0], proof[1].replace("nc=00000001", "nc=00000002"))
            assert (await attacker.ask(register("alice", raised))).status == 401
            to = f"sip:{REALM}"
            other = await attacker.ask(compose("INVITE", to, headers=(proof,), body=OFFER))
            assert other.status == 401
            return server.contacts("alice")

    assert besiege(story) == 1


def test_an_altered_body_is_noticed_under_auth_int() -> None:
    """RFC 7616 section 3.4.3."""

    async def story(server: rtpmix.Server) -> list[int]:
        @server.on_invite
        async def refuse(call: rtpmix.IncomingCall) -> None:
            await call.reject(486)

        async with Attacker() as attacker:
            seen = []
            for body in (OFFER, OFFER.replace(b"40000", b"40002")):
                challenge = await attacker.ask(compose("INVITE", body=OFFER))
                proof = credentials(challenge, "alice", USERS["alice"], method="INVITE", body=OFFER)
                assert "qop=auth-int" in proof[1]
                seen.append(
                    (await attacker.ask(compose("INVITE", headers=(proof,), body=body))).status
                )
            return seen

    assert besiege(story, digest_qop=("auth-int",)) == [486, 401]


def test_a_nonce_that_is_forged_or_past_its_time_is_stale() -> None:
    """RFC 7616 section 3.3: even with the right password; an honest phone then tries again."""

    async def story(server: rtpmix.Server) -> list[int]:
        async with Attacker() as phone:
            challenge = await phone.ask(register("alice"))
            forged = Response.create(
                401, None, [("WWW-Authenticate", f'Digest realm="{REALM}", nonce="0", qop="auth"')]
            )
            seen = []
            for nonce, pause in ((forged, 0), (challenge, 0), (challenge, 301)):
                await asyncio.sleep(pause)
                proof = credentials(
                    nonce, "alice", USERS["alice"], count=1 + (pause > 0), uri=f"sip:{REALM}"
                )
                answer = await phone.ask(register("alice", proof))
                stale = "stale=true" in (answer.headers.get("WWW-Authenticate") or "")
                assert stale == (answer.status == 401)
                seen.append(answer.status)
            return seen

    assert besiege(story) == [401, 200, 401]


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256", "SHA-512-256"])
def test_hashes_and_callbacks_serve_as_well_as_passwords(algorithm: str) -> None:
    """RFC 7616 section 5.2: a stolen table holds no password."""
    kept = rtpmix.Secret.hashed("carol", REALM, "pw", [algorithm])
    asked: list[str] = []

    def lookup(user: str) -> str | rtpmix.Secret | None:
        asked.append(user)
        return kept if user == "carol" else None

    async def story(server: rtpmix.Server) -> list[int]:
        async with Attacker() as phone:
            return [(await phone.log_in(user, "pw")).status for user in ("carol", "dave")]

    config = {"users": {}, "lookup": lookup, "digest_algorithms": (algorithm,)}
    assert besiege(story, **config) == [200, 401]
    assert asked == ["carol", "dave"]
