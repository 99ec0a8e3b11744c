"""A telephone for tests and demonstrations: it calls, answers, speaks a tone, and remembers.

It is the other end of the wire: its SIP is the library's user agent, but its RTP, G.711 and packet
schedule are its own, so that a test of the mixer compares two programs.  It works on asyncio's own
loop and on a `VirtualLoop` alike::

    async def main() -> None:
        alice = TonePhone("alice", host="192.0.2.10", frequency=437)
        bob = TonePhone("bob", host="192.0.2.20", frequency=1013)
        async with alice, bob:
            await alice.call(bob.uri)
            await asyncio.sleep(2)
            assert alice.hears(437, 1013) == {1013}

    run(main(), VirtualNet())
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from random import Random
from types import TracebackType
from typing import Self

from ..errors import CallFailed, SdpError, UsageError
from ..rtp.srtp import DEFAULT_SUITE
from ..sdp.security import Encryption
from ..sip import events
from ..sip.message import Request
from .net import Address
from .phone_dialog import PhoneDialog, PhoneState
from .phone_line import Header, PhoneLine
from .phone_session import PhoneSession, PhoneTerms
from .phone_sound import PhoneSound
from .voices import tone_voice


class TonePhone(PhoneDialog, PhoneSound):
    """One telephone with one line.

    Parameters
    ----------
    user
        User part of its address.
    host, port
        Where it listens for SIP; port 0 takes a free one. Media is on the same host.
    frequency
        The tone that it speaks, Hz.
    level_db
        The peak of the tone against full scale.
    proxy
        Where requests go, whatever address they are for; also the registrar.
    domain
        Of its address of record; the host when not given.
    password
        Answers digest challenges.
    codecs
        In order of preference.
    transport
        "UDP" or "TCP".
    answer_after
        Seconds of ringing before it answers; None rings until `answer` or `reject`.
    reject_with
        A status to refuse every call with.
    info_packages
        INFO packages that it takes (RFC 6086).
    encryption, suites
        Whether media is encrypted (SDES), and with which SRTP suites, the best first.
    dtls
        Agree on keys by DTLS-SRTP, not by SDES.
    comfort_noise
        Describe silence (`be_silent`) once, with comfort noise (RFC 3389), instead of sending it,
        where the server agrees.
    keep
        How many packets to remember at least; None remembers everything.
    seed
        Of its tags, SSRCs and first sequence numbers; its user name when not given.
    """

    def __init__(
        self,
        user: str,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        frequency: float = 1013.0,
        level_db: float = -20.0,
        proxy: Address | None = None,
        domain: str | None = None,
        password: str | None = None,
        codecs: tuple[str, ...] = ("PCMU", "PCMA"),
        transport: str = "UDP",
        answer_after: float | None = 0.0,
        reject_with: int | None = None,
        info_packages: tuple[str, ...] = (),
        encryption: Encryption = Encryption.FORBIDDEN,
        suites: tuple[str, ...] = (DEFAULT_SUITE,),
        dtls: bool = False,
        comfort_noise: bool = False,
        keep: int | None = None,
        seed: int | str | None = None,
    ) -> None:
        self.user = user
        self.host = host
        self.frequency = frequency
        self.answer_after = answer_after
        self.reject_with = reject_with
        self.state = PhoneState.IDLE
        self.invitation: Request | None = None  # the last INVITE that rang here
        self.progress: list[int] = []  # provisional statuses of the last call we made
        self.end_cause: str | None = None  # of the last call
        self.requests: list[Request] = []  # other than INVITE, newest last
        self.responses: dict[str, int] = {}  # method -> what is answered to it, else 200
        self._voice = tone_voice(frequency, level_db=level_db)
        self.terms = PhoneTerms(codecs, encryption, suites, dtls, comfort_noise)  # of calls to come
        self._keep = keep
        self._random = Random(f"phone {f'{user}@{host}' if seed is None else seed}")
        self._line = PhoneLine(
            user,
            host=host,
            port=port,
            transport=transport,
            proxy=proxy,
            domain=domain,
            password=password,
            random=self._random,
            info_packages=info_packages,
            on_event=self._on_event,
        )
        self._session: PhoneSession | None = None
        self._call: int | None = None
        self._rings = asyncio.Event()
        self._over = asyncio.Event()

    # ------------------------------------------------------------------------- life and line

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Begin to listen."""
        await self._line.open()

    async def close(self) -> None:
        """Hang up and stop listening; what was heard stays."""
        if self._call is not None:
            self.bye()
        await self._line.close()

    @property
    def port(self) -> int:
        """The port of SIP; known once the phone is open."""
        return self._line.port

    @property
    def uri(self) -> str:
        """Where this phone is called directly."""
        return self._line.uri

    @property
    def aor(self) -> str:
        """Its address of record."""
        return self._line.aor

    async def register(self, *, expires: int = 3600) -> None:
        """Register with the proxy, and again before the time is over; 0 takes it back.

        Raises
        ------
        CallFailed
            The registrar refused.
        """
        await self._line.register(expires)

    # --------------------------------------------------------------------------------- calls

    async def call(
        self,
        target: str,
        *,
        timeout_s: float = 30.0,
        headers: Iterable[Header] = (),
        listen_only: bool = False,
    ) -> None:
        """Call someone and return when they have answered; `listen_only` offers ``recvonly``.

        Raises
        ------
        CallFailed
            With the status that refused, or 408 after the timeout.
        """
        if self._call is not None or self.state is not PhoneState.IDLE:
            raise UsageError(f"phone {self.user} has a call already; a phone has one line")
        self._line.check_open()
        self.state = PhoneState.CALLING
        self.progress, self.end_cause = [], None
        self._over.clear()
        try:
            session = self._session = await self._new_session()
            async with asyncio.timeout(timeout_s):
                outcome = await self._line.invite(
                    target,
                    session.offer(listen_only=listen_only),
                    tuple(headers),
                    self._took_number,
                )
        except BaseException as exc:
            self._give_up()
            if isinstance(exc, TimeoutError):
                raise CallFailed(status=408, reason="Request Timeout", target=target) from exc
            raise
        if isinstance(outcome, events.Failed):
            self._finish(f"failed {outcome.status}")
            raise CallFailed(status=outcome.status, reason=outcome.reason, target=target)

    async def rings(self) -> Request:
        """Wait until somebody calls; return the INVITE."""
        await self._rings.wait()
        assert self.invitation is not None
        return self.invitation

    async def answer(self) -> None:
        """Answer the call that rings."""
        call, invitation = self._call, self.invitation
        if self.state is not PhoneState.RINGING or call is None or invitation is None:
            raise UsageError(f"phone {self.user} does not ring")
        session = await self._new_session()
        if self._call != call:
            session.close()  # the caller gave up meanwhile
            return
        try:
            body = session.answer_offer(invitation.body)
        except SdpError as exc:
            session.close()
            self.reject(exc.status_hint or 488)
            return
        self._session = session
        self.state = PhoneState.TALKING
        self._line.agent.accept(call, self._line.now, body)
        self._line.pump()

    def reject(self, status: int = 486) -> None:
        """Refuse the call that rings."""
        if self.state is not PhoneState.RINGING or self._call is None:
            raise UsageError(f"phone {self.user} does not ring")
        self._line.agent.reject(self._call, status, self._line.now)
        self._finish(f"rejected {status}")
        self._line.pump()

    def bye(self) -> None:
        """Hang up, in whatever state the call is."""
        if self._call is None:
            raise UsageError(f"phone {self.user} has no call to hang up")
        call, answered = self._call, self.state is PhoneState.TALKING
        if self._session is not None:
            self._session.close()  # the RTCP BYE goes first, while the other side still listens
        self._line.agent.bye(call, self._line.now)
        self._line.pump()
        if not answered:
            self._finish("gave up")

    async def ended(self) -> str:
        """Wait until the call is over; return why: "remote-bye", "cancelled", "failed 486" ..."""
        await self._over.wait()
        return self.end_cause or ""

    def snapshot(self) -> dict[str, int]:
        """Return the user agent's counts."""
        return self._line.agent.snapshot()

    # ------------------------------------------------------------------------------- inside

    async def _new_session(self) -> PhoneSession:
        name = f"{self.user}@{self.host}"
        session = await self.terms.begin(name, self.host, self._random, self._keep)
        session.media.voice = self._voice
        return session

    def _took_number(self, call: int) -> None:
        self._call = call

    def _give_up(self) -> None:
        if self._call is not None and self.state is PhoneState.CALLING:
            self._line.agent.bye(self._call, self._line.now)
            self._line.pump()
        self._finish("gave up")

    def _finish(self, cause: str) -> None:
        """The call is over."""
        if self._session is not None:
            self._session.close()
        if self.state is not PhoneState.IDLE:
            self.end_cause = cause
        self.state = PhoneState.IDLE
        if self._call is not None:
            self._line.tell(self._call, events.Failed(self._call, 487, cause))
        self._call = None
        self._rings.clear()
        self._over.set()

    # ------------------------------------------------------------------------ from the agent

    def _on_event(self, event: events.Event) -> None:
        match event:
            case events.Invited():
                self._invited(event)
            case events.Answered() if event.call == self._call:
                self._answered(event)
            case events.Failed():
                if event.call == self._call:
                    self._call = None
                self._line.tell(event.call, event)
            case events.ReinviteAnswered():
                self._line.tell(event.call, event)
            case events.Responded():
                self._line.tell(event.request, event)
            case events.Progressed():
                self.progress.append(event.response.status)
            case events.Acked() if event.call == self._call and self._session is not None:
                self._acked(event)
            case events.Reinvited():
                self._reinvited(event)
            case events.Cancelled() if event.call == self._call:
                self._finish("cancelled")
            case events.Ended() if event.call == self._call:
                self._finish(event.cause)
            case events.Requested():
                self.requests.append(event.message)
                status = self.responses.get(event.message.method, 200)
                self._line.agent.respond(event.request, status, self._line.now)
            case _:
                pass

    def _invited(self, event: events.Invited) -> None:
        if self._call is not None or self.state is not PhoneState.IDLE:
            self._line.agent.reject(event.call, 486, self._line.now)
            return
        self._call, self.invitation = event.call, event.request
        self.state, self.end_cause = PhoneState.RINGING, None
        self._over.clear()
        if self.reject_with is not None:
            self.reject(self.reject_with)
            return
        self._line.agent.ring(event.call, self._line.now)
        self._rings.set()
        if self.answer_after is not None:
            loop = asyncio.get_running_loop()
            loop.call_later(self.answer_after, self._answer_if_ringing, event.call)

    def _answer_if_ringing(self, call: int) -> None:
        if self._call == call and self.state is PhoneState.RINGING:
            self._line.start(self.answer())

    def _answered(self, event: events.Answered) -> None:
        assert self._session is not None
        try:
            self._session.accept_answer(event.response.body)
        except SdpError as exc:
            self._line.tell(event.call, events.Failed(event.call, 488, str(exc)))
            self._line.agent.bye(event.call, self._line.now)
            return
        self.state = PhoneState.TALKING
        self._line.tell(event.call, event)

    def _acked(self, event: events.Acked) -> None:
        if event.body and self._session is not None:
            try:
                self._session.accept_late_answer(event.body)
            except SdpError:
                self._line.agent.bye(event.call, self._line.now)

    def _reinvited(self, event: events.Reinvited) -> None:
        if self._session is None:
            self._line.agent.answer_reinvite(event.call, 488, self._line.now)
            return
        try:
            body = self._session.answer_offer(event.request.body)
        except SdpError as exc:
            self._line.agent.answer_reinvite(event.call, exc.status_hint or 488, self._line.now)
            return
        self._line.agent.answer_reinvite(event.call, 200, self._line.now, body)
