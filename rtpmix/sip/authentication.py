"""Answering digest challenges: what a client keeps of them, and sending a request once more.

Theory of operation
-------------------
An `Authentication` belongs to one dialog, or to one request outside of any. It keeps the last
challenge of every realm on the way, since each request must satisfy all of them (RFC 3261 section
22.3), and counts how often each nonce was used. Within a dialog what was learnt once is sent
ahead of being asked.

Whether a challenge is worth another attempt is judged for each request alone, by `Attempts`: a
realm that refuses credentials made from its own fresh nonce knows another password.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import SipParseError
from .credentials import parse_digest
from .digest import answer_challenge
from .message import Request, Response
from .transaction import NOBODY, TransactionUser

if TYPE_CHECKING:
    from .core import Core
    from .flow import Flow

MAX_REALMS = 8  # proxies on one way that each want a password
MAX_ATTEMPTS = 6  # of one request: two realms whose nonces run out on the way come to five

CREDENTIAL_HEADERS = ("Authorization", "Proxy-Authorization")
_CHALLENGES = {401: "WWW-Authenticate", 407: "Proxy-Authenticate"}

Key = tuple[int, str]  # 401 or 407, realm


class Credential(NamedTuple):
    """A user name and its password, to be proved by digest and never sent."""

    username: str
    password: str

    def __repr__(self) -> str:
        return "Credential(...)"


# One for whoever asks, or a choice by realm; None for a realm that is none of ours.
Credentials = Credential | Callable[[str], Credential | None]


class Attempts:
    """How often one request has answered whom."""

    __slots__ = ("_answered",)

    def __init__(self) -> None:
        self._answered: dict[Key, int] = {}

    def may_answer(self, key: Key, stale: bool) -> bool:
        """Count an answer to a challenge; False where one more would only be refused again.

        References
        ----------
        RFC 3261 section 22.1: a rejection without ``stale`` means wrong credentials
        """
        if sum(self._answered.values()) >= MAX_ATTEMPTS or (key in self._answered and not stale):
            return False
        self._answered[key] = self._answered.get(key, 0) + 1
        return True


class Authentication:
    """The challenges of one dialog, or of one request, and their answers.

    Parameters
    ----------
    credentials
        A callable is asked for each realm; it must not block.
    token
        Draws cnonces.

    References
    ----------
    RFC 3261 sections 22.2 and 22.3; RFC 7616 section 3.6; RFC 8760
    """

    __slots__ = ("_challenges", "_credentials", "_token")

    def __init__(self, credentials: Credentials, token: Callable[[], str]) -> None:
        self._credentials = credentials
        self._token = token
        self._challenges: dict[Key, tuple[Response, int]] = {}  # and how often it was answered

    def learn(self, response: Response, attempts: Attempts) -> bool:
        """Take the challenges of a 401 or 407; True where the request should be sent again."""
        name = _CHALLENGES.get(response.status)
        if name is None:
            return False
        asked: dict[Key, list[str]] = {}
        stale: set[Key] = set()
        for value in response.headers.get_all(name):
            try:
                fields = parse_digest(value)
            except SipParseError:
                continue  # of another scheme: RFC 8760 section 2.4 wants it ignored
            key = (response.status, fields.get("realm", ""))
            asked.setdefault(key, []).append(value)
            if fields.get("stale", "").lower() == "true":
                stale.add(key)
        worthwhile = False
        for key, values in asked.items():
            if self._credential(key[1]) is None or not self._fits(key):
                continue
            challenge = Response.create(key[0], None, [(name, value) for value in values])
            if _is_answerable(challenge) and attempts.may_answer(key, key in stale):
                self._challenges[key] = challenge, 0
                worthwhile = True
        return worthwhile

    def headers(self, method: str, uri: str, body: bytes) -> list[tuple[str, str]]:
        """Return the credentials for a request, one header for every realm known."""
        found = []
        for key, (challenge, used) in self._challenges.items():
            credential = self._credential(key[1])
            if credential is None:
                continue
            self._challenges[key] = challenge, used + 1
            found.append(
                answer_challenge(
                    challenge,
                    method=method,
                    uri=uri,
                    username=credential.username,
                    password=credential.password,
                    cnonce=self._token(),
                    nc=used + 1,
                    body=body,
                )
            )
        return found

    def _credential(self, realm: str) -> Credential | None:
        credentials = self._credentials
        return credentials if isinstance(credentials, Credential) else credentials(realm)

    def _fits(self, key: Key) -> bool:
        return key in self._challenges or len(self._challenges) < MAX_REALMS


def _is_answerable(challenge: Response) -> bool:
    """Tell whether one of the algorithms offered is known here."""
    try:
        answer_challenge(challenge, method="X", uri="sip:x", username="x", password="", cnonce="x")
    except SipParseError:
        return False
    return True


Compose = Callable[[], "tuple[Request, str, Flow]"]  # a request, its branch and its way


class AuthenticatedRequest(TransactionUser):
    """Stands between a non-INVITE request and its user, and answers challenges.

    Parameters
    ----------
    compose
        Makes the request afresh, with a new branch, a new CSeq and what is known by then.
    """

    __slots__ = ("_attempts", "_authentication", "_compose", "_core", "_user")

    def __init__(
        self, core: Core, user: TransactionUser, authentication: Authentication, compose: Compose
    ) -> None:
        self._core = core
        self._user = user
        self._authentication = authentication
        self._compose = compose
        self._attempts = Attempts()

    def send(self, now: float) -> None:
        """Send the request in a transaction of its own."""
        request, branch, flow = self._compose()
        self._core.layer.send_request(request, branch, flow, self, now)

    def response_received(self, transaction: Any, response: Response, now: float) -> None:
        """Answer a challenge, or pass the response on."""
        if self._authentication.learn(response, self._attempts):
            transaction.user = NOBODY  # its end is not the end of the request
            self.send(now)
        else:
            self._user.response_received(transaction, response, now)

    def timed_out(self, transaction: Any, now: float) -> None:
        """Pass it on."""
        self._user.timed_out(transaction, now)

    def transport_failed(self, transaction: Any, now: float) -> None:
        """Pass it on."""
        self._user.transport_failed(transaction, now)

    def transaction_ended(self, transaction: Any, now: float) -> None:
        """Pass it on."""
        self._user.transaction_ended(transaction, now)


def once_more(core: Core, request: Request, flow: Flow) -> tuple[Request, str]:
    """Return a copy of a request for a new attempt, and its branch: the CSeq is one higher.

    Call-ID, From and To stay as they were; credentials are left out.

    References
    ----------
    RFC 3261 sections 8.1.3.5 and 22.2
    """
    branch = core.new_branch()
    headers = request.headers.copy()
    for name in CREDENTIAL_HEADERS:
        headers.remove(name)
    headers.set(*core.via(flow, branch))
    headers.set("CSeq", f"{request.cseq.number + 1} {request.method}")
    return Request(request.method, request.uri, headers, request.body), branch


def add_credentials(request: Request, authentication: Authentication) -> None:
    """Put the answer to every challenge known so far into a request."""
    for name, value in authentication.headers(request.method, request.uri, request.body):
        request.headers.add(name, value)
