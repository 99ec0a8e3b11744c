"""Microseconds by which a wrong password and an unknown user differ: enumeration by time.

Each login is parsed, checked and answered by the directory of a server; the two kinds come in
turn, in random order, so that a slow moment of the machine meets both.  The bar is 1,000 us.
"""

from __future__ import annotations

import argparse
import random
from statistics import median
from time import perf_counter

from benchmarks.result import Result
from rtpmix.sip.credentials import Secret
from rtpmix.sip.digest import Authenticator, Outcome, answer_challenge
from rtpmix.sip.message import Request, Response, parse_message

REALM = "pbx.example"


def _login(gate: Authenticator, user: str) -> bytes:
    challenge = Response.create(401, None, gate.challenge(0.0))
    proof = answer_challenge(
        challenge,
        method="REGISTER",
        uri=f"sip:{REALM}",
        username=user,
        password="guess",
        cnonce="c",
    )
    headers = [
        ("Via", "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1"),
        ("From", f"<sip:{user}@{REALM}>;tag=1"),
        ("To", f"<sip:{user}@{REALM}>"),
        ("Call-ID", "c1"),
        ("CSeq", "1 REGISTER"),
        proof,
    ]
    return Request.create("REGISTER", f"sip:{REALM}", headers).to_bytes()


def _seconds(gate: Authenticator, data: bytes) -> float:
    began = perf_counter()
    request = parse_message(data)
    assert isinstance(request, Request)
    verdict = gate.check(request, 1.0)
    spent = perf_counter() - began
    assert verdict.outcome is Outcome.WRONG
    return spent


def run(arguments: list[str]) -> Result:
    """Compare the medians of both kinds in each run; `value` is how far they are apart."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks login")
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--logins", type=int, default=2000, help="of each kind, in each run")
    options = parser.parse_args(arguments)
    users: dict[str, Secret | str] = {f"user{n}": "pw" for n in range(0, 1000, 2)}
    users |= {name: Secret.hashed(name, REALM, "pw") for name in list(users)[::2]}
    gate = Authenticator(REALM, users.get, secret_key=bytes(32))
    known = [_login(gate, f"user{n}") for n in range(0, 1000, 2)]
    unknown = [_login(gate, f"user{n}") for n in range(1, 1000, 2)]
    chance = random.Random(1)
    apart, each = [], []
    for _ in range(options.runs):
        spent: dict[bool, list[float]] = {True: [], False: []}
        order = [True, False] * options.logins
        chance.shuffle(order)
        for exists in order:
            spent[exists].append(_seconds(gate, chance.choice(known if exists else unknown)))
        apart.append(abs(median(spent[True]) - median(spent[False])) * 1e6)
        each.append(median(spent[True]) * 1e6)
    return Result(
        benchmark="login",
        unit="us between an unknown user and a wrong password",
        runs=tuple(apart),
        details={"us_per_login": round(median(each), 1), "bar_us": 1000},
    )
