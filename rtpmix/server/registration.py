"""Who is who: digest logins, and the phones that registered."""

from __future__ import annotations

from collections.abc import Callable

from ..config import Config
from ..sip.digest import Authenticator, Outcome
from ..sip.flow import Flow
from ..sip.message import Request
from ..sip.registrar import Binding, Registrar, Reply
from ..sip.uri import SipUri, escape_user

Headers = list[tuple[str, str]]

SWEEP_S = 60.0  # seconds between two searches for registrations that ran out


class Directory:
    """The users of one server: their logins and their registered contacts.

    Parameters
    ----------
    config
        Names the users, their passwords and the realm.
    secret
        Signs nonces; fresh for each server.
    """

    def __init__(self, config: Config, secret: bytes) -> None:
        self._config = config
        self.authenticator = Authenticator(config.realm, config.users.get, secret_key=secret)
        self.registrar = Registrar()
        self._swept_at = 0.0
        self.outcomes = dict.fromkeys((outcome.name.lower() for outcome in Outcome), 0)

    def identify(self, request: Request, now: float) -> tuple[str | None, Headers]:
        """Return the user that a request proves to come from, and the challenge if it must login.

        Without credentials a request needs none, unless `Config.require_login` says so or it
        claims an address in the realm: the answer is the same whether that user exists or not.
        """
        if not self._config.users:
            return None, []
        if "Authorization" in request.headers:
            return self._check(request, now)
        sender = request.from_.uri
        ours = isinstance(sender, SipUri) and sender.host.lower() == self._config.realm.lower()
        if self._config.require_login or ours:
            return None, self.challenge(request, now)
        return None, []

    def register(
        self, request: Request, flow: Flow, now: float, is_ours: Callable[[SipUri], bool]
    ) -> tuple[Reply, str | None]:
        """Answer a REGISTER (RFC 3261 section 10.3); return the reply and who it was."""
        if now - self._swept_at >= SWEEP_S:
            self._swept_at = now
            self.registrar.expire(now)
        user, challenge = self._check(request, now)
        if user is None:
            return Reply(401, "Unauthorized", challenge), None
        target = request.to.uri
        if not isinstance(target, SipUri) or not is_ours(target):
            return Reply(404, "Not Found", []), None
        if target.decoded_user != user:  # step 3: nobody registers for somebody else
            return Reply(403, "Forbidden", []), None
        return self.registrar.register(request, flow, self.address_of(user), now), user

    def challenge(self, request: Request, now: float, *, stale: bool = False) -> Headers:
        """Return the challenge for the sender of a request."""
        agent = request.headers.get("User-Agent")
        return self.authenticator.challenge(now, stale=stale, user_agent=agent)

    def contacts(self, user: str, now: float) -> list[Binding]:
        """Return where a user can be reached now, best first."""
        return self.registrar.lookup(self.address_of(user), now)

    def address_of(self, user: str) -> str:
        """Return the user's address of record."""
        return f"sip:{escape_user(user)}@{self._config.realm}"

    def _check(self, request: Request, now: float) -> tuple[str | None, Headers]:
        verdict = self.authenticator.check(request, now)
        self.outcomes[verdict.outcome.name.lower()] += 1
        if verdict.outcome is Outcome.OK:
            return verdict.user, []
        # With `stale` an honest phone whose count was used up elsewhere tries again by itself.
        stale = verdict.outcome in (Outcome.STALE, Outcome.REPLAYED)
        return None, self.challenge(request, now, stale=stale)
