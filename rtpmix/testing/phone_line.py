"""The SIP half of a test phone: a user agent on sockets, and answers to be awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from random import Random
from typing import Any

from ..config import Listen
from ..errors import CallFailed, SipParseError, UsageError
from ..server.sip_shell import SipShell
from ..sip import events
from ..sip.digest import answer_challenge
from ..sip.flow import Flow
from ..sip.message import Response
from ..sip.routing import bracketed
from ..sip.uri import SipUri, parse_uri
from ..sip.user_agent import UserAgent, UserAgentConfig
from .net import Address

Header = tuple[str, str]

_GOODBYE_S = 0.5  # how long `close` waits for the answer to a BYE


class _Shell(SipShell):
    """A pump that tells when the last dialog is gone."""

    def __init__(self, agent: UserAgent, on_event: Callable[[events.Event], None]) -> None:
        super().__init__(agent, on_event)
        self.quiet: asyncio.Event | None = None

    def pump(self) -> None:
        super().pump()
        if self.quiet is not None and not self.agent.snapshot().get("dialogs"):
            self.quiet.set()


class PhoneLine:
    """One SIP line; see `TonePhone` for the parameters."""

    def __init__(
        self,
        user: str,
        *,
        host: str,
        port: int,
        transport: str,
        proxy: Address | None,
        domain: str | None,
        password: str | None,
        random: Random,
        on_event: Callable[[events.Event], None],
        info_packages: tuple[str, ...] = (),
    ) -> None:
        self.user = user
        self.host = host
        self.port = port
        self.transport = transport
        self.proxy = proxy
        self.password = password
        self.aor = f"sip:{user}@{domain or bracketed(host)}"
        self._random = random
        self._info_packages = info_packages
        self._on_event = on_event
        self._shell: _Shell | None = None
        self._agent: UserAgent | None = None
        self._registration: asyncio.TimerHandle | None = None
        self._waiting: dict[int, asyncio.Future[Any]] = {}  # by number of call or request
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Begin to listen."""
        config = UserAgentConfig(
            contact_user=self.user,
            info_packages=self._info_packages,
            user_agent="rtpmix-testing",
            allow=(*UserAgentConfig.allow, "REFER", "NOTIFY", "SUBSCRIBE"),
            supported=("replaces",),
        )
        self._agent = UserAgent(config, token=lambda: f"{self._random.getrandbits(96):024x}")
        self._shell = _Shell(self._agent, self._on_event)
        await self._shell.listen([Listen(self.transport, self.host, self.port)])
        self.port = self._shell.addresses[0].port

    async def close(self) -> None:
        """Wait for the last answers, not for long, and stop listening."""
        shell, self._shell = self._shell, None
        if shell is None:
            return
        if self._registration is not None:
            self._registration.cancel()
        for task in tuple(self._tasks):
            task.cancel()
        if self.agent.snapshot().get("dialogs"):
            shell.quiet = asyncio.Event()
            with suppress(TimeoutError):
                async with asyncio.timeout(_GOODBYE_S):
                    await shell.quiet.wait()
        await shell.close()

    @property
    def agent(self) -> UserAgent:
        """The user agent; UsageError before `open`."""
        if self._agent is None:
            raise UsageError(f"phone {self.user} is not open: use `async with phone:`")
        return self._agent

    @property
    def now(self) -> float:
        """The loop's time."""
        return asyncio.get_running_loop().time()

    @property
    def uri(self) -> str:
        """Where this phone is called directly."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        suffix = "" if self.transport == "UDP" else f";transport={self.transport.lower()}"
        return f"sip:{self.user}@{host}:{self.port}{suffix}"

    def check_open(self) -> SipShell:
        """Return the sockets; UsageError when the phone does not listen."""
        if self._shell is None:
            raise UsageError(f"phone {self.user} is not open: use `async with phone:`")
        return self._shell

    def pump(self) -> None:
        """Send what the user agent wants to send."""
        if self._shell is not None:
            self._shell.pump()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something in the background, until `close`."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def wait_for(self, number: int) -> asyncio.Future[Any]:
        """Return what becomes the next thing told about a call or a request."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        return future

    def tell(self, number: int, event: object) -> None:
        """Resolve what waits for this number, if anything does."""
        future = self._waiting.pop(number, None)
        if future is not None and not future.done():
            future.set_result(event)

    # ------------------------------------------------------------------------------ requests

    async def register(self, expires: int) -> None:
        """Register, and again when half of the time is over; 0 takes it back."""
        if self.proxy is None:
            raise UsageError("nowhere to register: give the phone a proxy=(host, port)")
        if self._registration is not None:
            self._registration.cancel()
            self._registration = None
        target = f"sip:{self.aor.partition('@')[2]}"
        headers = [("Contact", f"<{self.uri}>"), ("Expires", str(expires))]
        answer = await self._request("REGISTER", target, headers, self.aor)
        if answer.status >= 300:
            raise CallFailed(status=answer.status, reason=answer.reason, target=target)
        if expires:
            self._registration = asyncio.get_running_loop().call_later(
                expires / 2, lambda: self.start(self.register(expires))
            )

    async def invite(
        self,
        target: str,
        body: bytes,
        headers: Iterable[Header],
        on_number: Callable[[int], None],
    ) -> events.Answered | events.Failed:
        """Call someone, with credentials if they are asked for; return how it came out.

        ``on_number`` is told the number of the call as soon as there is one, and the second one
        when the first was challenged.
        """
        outcome = await self._invite_once(target, body, tuple(headers), on_number)
        challenged = isinstance(outcome, events.Failed) and outcome.status in (401, 407)
        if challenged and self.password is not None:
            proof = self._prove(outcome.response, "INVITE", target)
            outcome = await self._invite_once(target, body, (*headers, proof), on_number)
        return outcome

    async def _invite_once(
        self,
        target: str,
        body: bytes,
        headers: tuple[Header, ...],
        on_number: Callable[[int], None],
    ) -> events.Answered | events.Failed:
        number = self.agent.invite(
            target,
            flow=self._flow_to(target),
            from_uri=self.aor,
            headers=headers,
            body=body,
            now=self.now,
        )
        on_number(number)
        outcome: asyncio.Future[events.Answered | events.Failed] = self.wait_for(number)
        self.pump()
        return await outcome

    async def request_in_call(
        self,
        call: int,
        method: str,
        headers: Iterable[Header],
        *,
        body: bytes,
        content_type: str | None,
    ) -> events.Responded:
        """Send a request in an answered call and return its final response."""
        number = self.agent.request(
            method, call=call, headers=headers, body=body, content_type=content_type, now=self.now
        )
        answer: asyncio.Future[events.Responded] = self.wait_for(number)
        self.pump()
        return await answer

    async def _request(
        self, method: str, target: str, headers: list[Header], to_uri: str
    ) -> events.Responded:
        answer = await self._request_once(method, target, headers, to_uri)
        if answer.status in (401, 407) and self.password is not None:
            proof = self._prove(answer.response, method, target)
            answer = await self._request_once(method, target, [*headers, proof], to_uri)
        return answer

    async def _request_once(
        self, method: str, target: str, headers: list[Header], to_uri: str
    ) -> events.Responded:
        number = self.agent.request(
            method,
            target,
            flow=self._flow_to(target),
            from_uri=self.aor,
            to_uri=to_uri,
            headers=headers,
            now=self.now,
        )
        answer: asyncio.Future[events.Responded] = self.wait_for(number)
        self.pump()
        return await answer

    def _flow_to(self, target: str) -> Flow:
        shell = self.check_open()
        if self.proxy is not None:
            return shell.flow_to(self.transport, self.proxy)
        uri = parse_uri(target)
        if not isinstance(uri, SipUri):
            raise UsageError(f"{target!r} is not like sip:bob@192.0.2.1; or give a proxy")
        transport = (uri.parameter("transport") or self.transport).upper()
        return shell.flow_to(transport, (uri.host, uri.port or 5060))

    def _prove(self, challenge: Response | None, method: str, uri: str) -> Header:
        try:
            if challenge is None:
                raise SipParseError("a challenge without a response")
            return answer_challenge(
                challenge,
                method=method,
                uri=uri,
                username=self.user,
                password=self.password or "",
                cnonce=f"{self._random.getrandbits(64):016x}",
            )
        except SipParseError as exc:
            raise CallFailed(status=401, reason=str(exc), target=uri) from exc
