"""Who is who: digest logins, and the phones that registered."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from ..config import Config
from ..sip.credentials import Secret
from ..sip.digest import Authenticator, Outcome
from ..sip.flow import Flow
from ..sip.message import Request
from ..sip.registrar import Binding, Registrar, Reply
from ..sip.throttle import LoginThrottle, Rate, Throttled
from ..sip.uri import SipUri, escape_user
from ..transports import SECURE
from .location import Location, LocationStore

Headers = list[tuple[str, str]]

GUESSES_AT_MOST = 10  # wrong passwords in any one second, from one host
DEFAULT_EXPIRES = 3600  # seconds, for a phone that does not say (RFC 3261 section 10.2.1.1)
SWEEP_S = 60.0  # seconds between two searches for registrations that ran out


class Directory:
    """The users of one server: their logins and their registered contacts.

    Parameters
    ----------
    config
        Names the users, their passwords and the realm.
    secret
        Signs nonces; fresh for each server.
    on_throttled
        Told of each login that is not looked at.
    """

    def __init__(
        self,
        config: Config,
        secret: bytes,
        on_throttled: Callable[[Throttled], None] = lambda throttled: None,
    ) -> None:
        self._config = config
        self._on_throttled = on_throttled
        rate = config.password_guesses
        # In no second more than GUESSES_AT_MOST: what was saved up and what comes meanwhile.
        self._throttle = LoginThrottle(Rate(rate, max(1, int(GUESSES_AT_MOST - rate))))
        self.authenticator = Authenticator(
            config.realm,
            self._secret_of,
            secret_key=secret,
            algorithms=config.digest_algorithms,
            qop=config.digest_qop,
            throttle=self._throttle,
        )
        self.registrar = Registrar(
            min_expires=config.min_expires,
            max_expires=config.max_expires,
            default_expires=min(DEFAULT_EXPIRES, config.max_expires),
            on_change=self._keep,
        )
        self._store: LocationStore | None = None
        self._wall_offset = 0.0  # from the loop's time to that of the wall
        self._swept_at = 0.0
        # What the TLS certificate of a flow's peer proves.
        self.proved: Callable[[Flow], tuple[str, ...]] = lambda flow: ()
        self.outcomes = dict.fromkeys((outcome.name.lower() for outcome in Outcome), 0)

    def load(self, store: LocationStore, now: float, wall: float) -> None:
        """Take over what a store kept, and let it keep what changes from now on.

        Blocks while the store reads. `wall` is the wall-clock time of `now`.

        Raises
        ------
        UsageError
            When the store can't be used.
        """
        self._store, self._wall_offset = store, wall - now
        for location in store.load():
            # Streams that were open are gone, and with them who can't be connected to.
            kept = [
                replace(each, expires_at=each.expires_at - self._wall_offset)
                for each in location.bindings
                if each.expires_at > wall and not each.is_connection
            ]
            if kept:
                self.registrar.restore(location.aor, kept)

    def close(self) -> None:
        """Return when the store has written everything."""
        if self._store is not None:
            self._store.close()

    def _keep(self, aor: str, bindings: Sequence[Binding]) -> None:
        if self._store is None:
            return
        walled = (
            replace(each.unconnected(), expires_at=each.expires_at + self._wall_offset)
            for each in bindings
        )
        self._store.save(Location(aor, tuple(walled)))

    def identify(self, request: Request, flow: Flow, now: float) -> tuple[str | None, Reply | None]:
        """Return the user that a request proves to come from, or how to refuse it.

        Without credentials a request needs none, unless `Config.require_login` says so or it
        claims an address in the realm: the answer is the same whether that user exists or not.
        """
        if not self._config.has_users:
            return None, None
        if "Authorization" in request.headers:
            return self._check(request, flow, now)
        if (certified := self._certified(flow)) is not None:
            return certified, None
        sender = request.from_.uri
        ours = isinstance(sender, SipUri) and sender.host.lower() == self._config.realm.lower()
        if self._config.require_login or ours:
            return None, Reply(401, "Unauthorized", self.challenge(request, now))
        return None, None

    def register(
        self, request: Request, flow: Flow, now: float, is_ours: Callable[[SipUri], bool]
    ) -> tuple[Reply, str | None]:
        """Answer a REGISTER (RFC 3261 section 10.3); return the reply and who it was."""
        if now - self._swept_at >= SWEEP_S:
            self._swept_at = now
            self.registrar.expire(now)
        certified = None if "Authorization" in request.headers else self._certified(flow)
        user, refusal = (certified, None) if certified else self._check(request, flow, now)
        if refusal is not None or user is None:
            return refusal or Reply(403, "Forbidden", []), None
        target = request.to.uri
        if not isinstance(target, SipUri) or not is_ours(target):
            return Reply(404, "Not Found", []), None
        if target.decoded_user != user:  # step 3: nobody registers for somebody else
            return Reply(403, "Forbidden", []), None
        return self.registrar.register(request, flow, self.address_of(user), now), user

    def _certified(self, flow: Flow) -> str | None:
        """Return the user that a client's certificate proves, an alternative to a password.

        References
        ----------
        RFC 5922 section 7.1; RFC 3261 section 26.3.2.1
        """
        known = self._config.certificate_users
        if not known or flow.transport not in SECURE:
            return None
        return next((known[name] for name in self.proved(flow) if name in known), None)

    def challenge(self, request: Request, now: float, *, stale: bool = False) -> Headers:
        """Return the challenge for the sender of a request."""
        agent = request.headers.get("User-Agent")
        return self.authenticator.challenge(now, stale=stale, user_agent=agent)

    def contacts(self, user: str, now: float) -> list[Binding]:
        """Return where a user can be reached now, best first."""
        return self.registrar.lookup(self.address_of(user), now)

    def leads_nowhere(self, user: str, binding: Binding) -> bool:
        """Drop a binding whose flow has failed; False when it is gone already."""
        return self.registrar.remove(self.address_of(user), binding)

    def flow_closed(self, flow: Flow) -> list[str]:
        """Drop the bindings that ended with a connection; return whose they were."""
        return self.registrar.connection_closed(flow)

    def address_of(self, user: str) -> str:
        """Return the user's address of record."""
        return f"sip:{escape_user(user)}@{self._config.realm}"

    def snapshot(self) -> dict[str, int]:
        """Count logins by outcome, and what was not looked at."""
        return {
            **self.outcomes,
            **self._throttle.snapshot(),
            "bindings": len(self.registrar),
            **(self._store.snapshot() if self._store is not None else {}),
        }

    def _secret_of(self, user: str) -> str | Secret | None:
        secret = self._config.users.get(user)
        if secret is None and self._config.lookup is not None:
            return self._config.lookup(user)
        return secret

    def _check(self, request: Request, flow: Flow, now: float) -> tuple[str | None, Reply | None]:
        verdict = self.authenticator.check(request, now, source=flow.remote[0])
        self.outcomes[verdict.outcome.name.lower()] += 1
        if verdict.outcome is Outcome.OK:
            return verdict.user, None
        if verdict.throttled is not None:
            self._on_throttled(verdict.throttled)
            wait = str(max(1, math.ceil(verdict.throttled.retry_after)))
            return None, Reply(503, "Service Unavailable", [("Retry-After", wait)])
        # With `stale` an honest phone whose count was used up elsewhere tries again by itself.
        stale = verdict.outcome in (Outcome.STALE, Outcome.REPLAYED)
        return None, Reply(401, "Unauthorized", self.challenge(request, now, stale=stale))
