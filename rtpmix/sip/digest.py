"""Digest authentication: challenging requests, judging credentials, answering challenges.

An unknown user is checked against a made-up secret: same work, same answer as a wrong password.
Credentials without ``qop`` (RFC 2069) are refused: RFC 8760 section 2.6 has us always offer it,
and without a nonce count they could be replayed.

References
----------
RFC 7616 section 3; RFC 8760; RFC 3261 section 22
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Mapping
from enum import Enum
from typing import NamedTuple

from ..errors import SipParseError, UsageError
from .credentials import (
    ALGORITHMS,
    Secret,
    find_credentials,
    format_digest,
    hash_a1,
    hash_a2,
    hash_response,
    known_algorithm,
    octets,
    parse_digest,
)
from .grammar import quote
from .message import Request, Response
from .nonces import Nonces, Use
from .throttle import LoginThrottle, Throttled
from .uri import SipUri, parse_uri

# User-Agents that give up at the first challenge they don't know, where RFC 8760 section 2.4 has
# them ignore it. They get the one for MD5 alone.
MD5_ONLY_AGENTS = ("baresip v0.", "baresip v1.", "baresip v2.", "JsSIP ", "SIP.js/")

_NO_HASH = "0" * 64
_LONGEST_NAME = 256  # characters of a user name: names are remembered where they failed

_COUNT = re.compile(r"[0-9A-Fa-f]{8}")


Lookup = Callable[[str], "Secret | str | None"]


class Outcome(Enum):
    """What a request's credentials came to."""

    OK = "ok"
    MISSING = "missing"  # none for our realm, or of an algorithm that was not offered
    STALE = "stale"  # right, but the nonce is not or no longer good: challenge with stale=true
    WRONG = "wrong"  # no such user, or not the password
    REPLAYED = "replayed"  # right, but this nonce count has been used
    MALFORMED = "malformed"  # not RFC 7616, or for another request: 400
    THROTTLED = "throttled"  # not looked at: too many wrong ones came before


class Verdict(NamedTuple):
    """The result of `Authenticator.check`; `user` is set for OK alone."""

    outcome: Outcome
    user: str | None = None
    throttled: Throttled | None = None  # with outcome THROTTLED


_OUTCOMES = {Use.FRESH: Outcome.OK, Use.STALE: Outcome.STALE, Use.REPLAYED: Outcome.REPLAYED}


class Authenticator:
    """Challenges requests and checks the answers.

    Parameters
    ----------
    realm
        The protection domain, shown to users.
    lookup
        User name to its secret (a plain string is a password), None for no such user.
    secret_key
        At least 16 random bytes that sign nonces; fresh for each process.
    algorithms
        Offered in this order (RFC 8760 section 2.3: most preferred first). MD5 stands first by
        default because many clients read one challenge and know nothing else; whoever sits on the
        wire could take the others away in any case. What was not offered is not accepted.
    qop
        "auth", or "auth-int" too, which covers the body.
    nonce_lifetime
        Seconds for which a nonce is good.
    max_nonces
        How many nonces in use are remembered at most.
    throttle
        Bounds guesses where `check` is told the source; None for no bound.
    """

    def __init__(
        self,
        realm: str,
        lookup: Lookup,
        *,
        secret_key: bytes,
        algorithms: tuple[str, ...] = ("MD5", "SHA-256"),
        qop: tuple[str, ...] = ("auth",),
        nonce_lifetime: float = 300.0,
        max_nonces: int = 10_000,
        throttle: LoginThrottle | None = None,
    ) -> None:
        if len(secret_key) < 16:
            raise UsageError("secret_key must be 16 random bytes or more, as from secrets")
        if not algorithms or not set(algorithms) <= ALGORITHMS.keys():
            raise UsageError(f"algorithms {algorithms} must be out of {tuple(ALGORITHMS)}")
        if not qop or not set(qop) <= {"auth", "auth-int"}:
            raise UsageError(f"qop {qop} must be auth, auth-int or both")
        if nonce_lifetime <= 0 or max_nonces < 1:
            raise UsageError("nonce_lifetime must be above 0 and max_nonces at least 1")
        self._realm = realm
        self._lookup = lookup
        self._algorithms = algorithms
        self._qop = qop
        self._throttle = throttle
        self._nonces = Nonces(secret_key, realm, lifetime=nonce_lifetime, limit=max_nonces)
        self._nobody = Secret(hmac.digest(secret_key, b"nobody", "sha256").hex())

    def challenge(
        self,
        now: float,
        *,
        proxy: bool = False,
        stale: bool = False,
        user_agent: str | None = None,
    ) -> list[tuple[str, str]]:
        """Return the headers of a 401 (407 with `proxy`): one for each algorithm.

        Parameters
        ----------
        user_agent
            What the challenged request says of itself, for those in `MD5_ONLY_AGENTS`.

        References
        ----------
        RFC 7616 section 3.3; RFC 8760 section 2.3
        """
        nonce = self._nonces.make(now)
        name = "Proxy-Authenticate" if proxy else "WWW-Authenticate"
        algorithms = self._algorithms
        if "MD5" in algorithms and user_agent and user_agent.startswith(MD5_ONLY_AGENTS):
            algorithms = ("MD5",)
        headers = []
        for algorithm in algorithms:
            fields = [("realm", quote(self._realm)), ("nonce", quote(nonce))]
            fields += [("stale", "true")] if stale else []
            fields += [("algorithm", algorithm), ("qop", quote(",".join(self._qop)))]
            headers.append((name, format_digest(fields)))
        return headers

    def check(
        self, request: Request, now: float, *, proxy: bool = False, source: str | None = None
    ) -> Verdict:
        """Say whether a request proves a user. Never raises for anything a peer can send.

        Parameters
        ----------
        source
            The host it came from, whose wrong passwords are counted.

        References
        ----------
        RFC 7616 sections 3.4 and 3.4.6; RFC 3261 section 22.4
        """
        name = "Proxy-Authorization" if proxy else "Authorization"
        try:
            fields = find_credentials(request.headers.get_all(name), self._realm)
            if fields is None:
                return Verdict(Outcome.MISSING)
            algorithm = known_algorithm(fields.get("algorithm", "MD5"))
            if algorithm not in self._algorithms:
                return Verdict(Outcome.MISSING)
            answer = _Answer.read(fields, self._qop)
            _check_uri(answer.uri, request)
        except SipParseError:
            return Verdict(Outcome.MALFORMED)
        throttle = self._throttle
        if throttle is None or source is None:
            return self._judge(answer, algorithm, request, now)
        throttled = throttle.check(source, answer.username, now)
        if throttled is not None:
            return Verdict(Outcome.THROTTLED, None, throttled)
        verdict = self._judge(answer, algorithm, request, now)
        if verdict.outcome is Outcome.WRONG:
            throttle.wrong(source, answer.username, now)
        elif verdict.outcome is Outcome.OK:
            throttle.right(source, answer.username)
        return verdict

    def _judge(self, answer: _Answer, algorithm: str, request: Request, now: float) -> Verdict:
        if not self._proves(answer, algorithm, request):
            return Verdict(Outcome.WRONG)
        outcome = _OUTCOMES[self._nonces.use(answer.nonce, answer.number, now)]
        return Verdict(outcome, answer.username if outcome is Outcome.OK else None)

    @property
    def remembered(self) -> int:
        """How many nonces are in the table of counts."""
        return len(self._nonces)

    def _proves(self, answer: _Answer, algorithm: str, request: Request) -> bool:
        """Compare the response, at the same cost whether the user exists or not."""
        known = self._lookup(answer.username)
        secret = self._nobody if known is None else known
        if isinstance(secret, str):
            secret = Secret(secret)
        a1 = secret.hash_a1(algorithm, answer.username, self._realm)
        if a1 is None:
            known, a1 = None, _NO_HASH
        expected = hash_response(
            algorithm,
            a1,
            f"{answer.nonce}:{answer.nc}:{answer.cnonce}:{answer.qop}",
            hash_a2(algorithm, answer.qop, request.method, answer.uri, request.body),
        )
        equal = hmac.compare_digest(expected.encode(), octets(answer.response.lower()))
        # A colon would make A1 ambiguous (RFC 7616 section 3.4.4): no user has one.
        return equal and known is not None and ":" not in answer.username


class _Answer(NamedTuple):
    """The fields of an Authorization header that go into the response."""

    username: str
    uri: str
    nonce: str
    nc: str  # as written: the digits go into the response
    number: int
    cnonce: str
    qop: str
    response: str

    @classmethod
    def read(cls, fields: Mapping[str, str], qops: tuple[str, ...]) -> _Answer:
        """Take what RFC 7616 section 3.4 asks for; `SipParseError` when a field is missing."""
        count_text, qop = fields.get("nc", ""), fields.get("qop", "").lower()
        if _COUNT.fullmatch(count_text) is None or int(count_text, 16) == 0 or qop not in qops:
            raise SipParseError("credentials lack a nonce count or a qop that was offered")
        needed = ("username", "uri", "nonce", "cnonce", "response")
        if not all(fields.get(name) for name in needed):
            raise SipParseError("credentials lack a field")
        if len(fields["username"]) > _LONGEST_NAME:
            raise SipParseError("the user name of credentials is too long")
        return cls(
            fields["username"],
            fields["uri"],
            fields["nonce"],
            count_text,
            int(count_text, 16),
            fields["cnonce"],
            qop,
            fields["response"],
        )


def answer_challenge(
    response: Response,
    *,
    method: str,
    uri: str,
    username: str,
    password: str,
    cnonce: str,
    nc: int = 1,
    body: bytes = b"",
) -> tuple[str, str]:
    """Answer a 401 or 407 under the strongest algorithm offered.

    Parameters
    ----------
    uri
        The Request-URI of the request that repeats the challenged one.
    cnonce
        Fresh and random.
    nc
        How many requests this one makes with this nonce.

    Returns
    -------
    (name, value) of the header to add.

    Raises
    ------
    SipParseError
        No challenge is one that this side can answer.

    References
    ----------
    RFC 7616 section 3.4; RFC 8760 sections 2.4 and 2.6; RFC 3261 sections 22.2 and 22.3
    """
    proxy = response.status == 407
    challenges = response.headers.get_all("Proxy-Authenticate" if proxy else "WWW-Authenticate")
    fields, algorithm = _strongest(challenges)
    qop = _choose_qop(fields)
    nonce, realm = fields["nonce"], fields.get("realm", "")
    between = f"{nonce}:{nc:08x}:{cnonce}:{qop}" if qop else nonce
    a1 = hash_a1(algorithm, username, realm, password)
    a2 = hash_a2(algorithm, qop, method, uri, body)
    pairs = [("username", quote(username)), ("realm", quote(realm)), ("nonce", quote(nonce))]
    pairs += [("uri", quote(uri)), ("response", quote(hash_response(algorithm, a1, between, a2)))]
    pairs.append(("algorithm", algorithm))
    if qop:
        pairs += [("cnonce", quote(cnonce)), ("qop", qop), ("nc", f"{nc:08x}")]
    if "opaque" in fields:
        pairs.append(("opaque", quote(fields["opaque"])))
    return "Proxy-Authorization" if proxy else "Authorization", format_digest(pairs)


def _choose_qop(fields: Mapping[str, str]) -> str:
    """Return the quality of protection to use; "" where none is offered (RFC 2069)."""
    offered = {each.strip().lower() for each in fields.get("qop", "").split(",")}
    return next((each for each in ("auth", "auth-int") if each in offered), "")


def _strongest(challenges: list[str]) -> tuple[dict[str, str], str]:
    best: tuple[int, dict[str, str], str] | None = None
    names = list(ALGORITHMS)
    for challenge in challenges:
        try:
            fields = parse_digest(challenge)
        except SipParseError:
            continue  # RFC 8760 section 2.4: what is not understood MUST be ignored
        algorithm = known_algorithm(fields.get("algorithm", "MD5"))
        if algorithm is None or not fields.get("nonce"):
            continue
        rank = names.index(algorithm)
        if best is None or rank < best[0]:
            best = rank, fields, algorithm
    if best is None:
        raise SipParseError("no challenge in the response can be answered")
    return best[1], best[2]


def _check_uri(uri: str, request: Request) -> None:
    """Refuse credentials made for another request (RFC 7616 section 3.4.6)."""
    if uri == request.uri:
        return
    target = request.request_uri
    if not isinstance(target, SipUri) or not target.equals(parse_uri(uri)):
        raise SipParseError("credentials are for another Request-URI")
