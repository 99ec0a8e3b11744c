"""Trunks: this server as a client of other registrars, and the way out for calls."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from random import Random
from typing import TYPE_CHECKING

from ..errors import CallFailed, CapacityError, UsageError
from ..events import TrunkFailed, TrunkRegistered
from ..sip import events as sip
from ..sip.authentication import Credential
from ..sip.flow import Address, Flow
from ..sip.message import Response
from ..sip.outward import Attempt, OutwardRegistration, Standing
from ..sip.uri import SipUri, escape_user, parse_uri
from ..trunks import Trunk
from .destinations import Destination, resolve
from .outcomes import seconds_of

if TYPE_CHECKING:
    from .switchboard import Switchboard

logger = logging.getLogger(__name__)

_GOODBYE_S = 2.0  # how long a closing server waits for the answer to its last REGISTER


class TrunkLine:
    """One trunk at work: its registration, and where its calls go."""

    def __init__(self, board: Switchboard, trunk: Trunk, random: Random) -> None:
        self.trunk = trunk
        self._board = board
        self._state = OutwardRegistration(len(trunk.registrars), trunk.expires, random)
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._remote: Address | None = None  # of the registrar asked last
        hosts = [parse_uri(text) for text in trunk.registrars]
        self.addresses = {  # of its registrars, as they were found last
            text: uri.host if isinstance(uri, SipUri) else ""
            for text, uri in zip(trunk.registrars, hosts, strict=True)
        }

    @property
    def standing(self) -> Standing:
        """How its registration stands."""
        return self._state.standing

    def start(self) -> None:
        """Register, and stay so."""
        if self.trunk.register and self._task is None:
            self._state.start(self._board.now)
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Take the registration back."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        last = self._state.stop()
        if last is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GOODBYE_S):
                    await self._ask(last)

    def flow_closed(self, remote: Address) -> None:
        """Register again at once where the connection to the registrar is gone."""
        if self._remote == remote:
            self._state.flow_failed(self._board.now)
            self._wake.set()

    async def destinations(self, target: str) -> list[Destination]:
        """Return where a call goes: by the registrar in use first, by the others if that fails.

        Raises
        ------
        CallFailed
            503 when no registrar's name is known.
        """
        trunk, first = self.trunk, self._state.current
        order = [*trunk.registrars[first:], *trunk.registrars[:first]]
        found, failure = [], None
        credentials = Credential(trunk.user, trunk.password)
        for registrar in order:
            try:
                hop = await self._resolve(registrar)
            except CallFailed as exc:
                failure = exc
                continue
            found.append(
                Destination(target, hop.flow, credentials=credentials, is_one_of_several=True)
            )
        if failure is not None and not found:
            raise failure
        return found

    # ------------------------------------------------------------------ registering

    async def _run(self) -> None:
        state = self._state
        while True:
            deadline = state.next_deadline()
            now = self._board.now
            if deadline is None or deadline > now:
                self._wake.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(deadline):
                        await self._wake.wait()
                continue
            attempt = state.due(now)
            if attempt is not None:
                self._judge(await self._ask(attempt))

    async def _ask(self, attempt: Attempt) -> sip.Responded:
        """Send one REGISTER and return its final response; 503 made up where it can't be sent."""
        trunk, board = self.trunk, self._board
        try:
            hop = await self._resolve(trunk.registrars[attempt.registrar])
            number = self._send(attempt, hop.flow)
        except (CallFailed, CapacityError, UsageError):
            return sip.Responded(0, 503, "Service Unavailable")
        return await board.response_to(number)

    def _send(self, attempt: Attempt, flow: Flow) -> int:
        trunk, board = self.trunk, self._board
        self._remote = flow.remote
        host, port = flow.local
        host = f"[{host}]" if ":" in host else host
        kind = flow.transport.lower()
        transport = "" if kind == "udp" else f";transport={kind}"
        contact = f"<sip:{escape_user(trunk.user)}@{host}:{port}{transport}>"
        # Section 10.2: the Request-URI names the domain alone.
        return board.agent.request(
            "REGISTER",
            f"sip:{trunk.address.rpartition('@')[2]}",
            flow=flow,
            from_uri=trunk.address,
            to_uri=trunk.address,
            headers=[
                ("Contact", f"{contact};expires={attempt.expires}"),
                ("Expires", str(attempt.expires)),
            ],
            credentials=Credential(trunk.user, trunk.password),
            now=board.now,
        )

    def _judge(self, answer: sip.Responded) -> None:
        state, now, response = self._state, self._board.now, answer.response
        if 200 <= answer.status < 300:
            if state.accepted(_granted(response, self.trunk), now):
                registrar = self.trunk.registrars[state.current]
                self._board.publish(
                    TrunkRegistered(at=now, trunk=self.trunk.name, registrar=registrar)
                )
            return
        if answer.status == 423 and state.too_brief(seconds_of(response, "Min-Expires"), now):
            return
        if state.failed(now, float(seconds_of(response, "Retry-After") or 0)):
            logger.warning("a trunk is not registered: %d", answer.status)
            self._board.publish(
                TrunkFailed(
                    at=now, trunk=self.trunk.name, status=answer.status, reason=answer.reason
                )
            )

    async def _resolve(self, registrar: str) -> Destination:
        uri = parse_uri(registrar)
        assert isinstance(uri, SipUri)  # `Trunk` has checked it
        found = (await resolve(self._board, uri, direct=True))[0][0]
        self.addresses[registrar] = found.flow.remote[0]
        return found


class Trunks:
    """All trunks of one server."""

    def __init__(self, board: Switchboard, trunks: tuple[Trunk, ...], random: Random) -> None:
        self._lines = {trunk.name: TrunkLine(board, trunk, random) for trunk in trunks}

    def start(self) -> None:
        """Begin to register with each."""
        self.each(TrunkLine.start)

    async def close(self) -> None:
        """Take every registration back."""
        await asyncio.gather(*(line.stop() for line in self._lines.values()))

    def each(self, work: Callable[[TrunkLine], None]) -> None:
        """Do something with every trunk."""
        for line in self._lines.values():
            work(line)

    def have_address(self, names: Iterable[str], host: str) -> bool:
        """Tell whether an address is that of a registrar of one of these trunks."""
        lines = [self._lines[name] for name in names if name in self._lines]
        return any(host in line.addresses.values() for line in lines)

    def find(self, name: str) -> TrunkLine:
        """Return a trunk.

        Raises
        ------
        UsageError
            When there is none of that name.
        """
        line = self._lines.get(name)
        if line is None:
            known = ", ".join(self._lines) or "none"
            raise UsageError(f"there is no trunk {name!r}; Config.trunks has {known}")
        return line

    def snapshot(self) -> dict[str, str]:
        """Return how each stands."""
        return {name: line.standing.value for name, line in self._lines.items()}


def _granted(response: Response | None, trunk: Trunk) -> int | None:
    """Return the seconds given to our contact (section 10.2.4): in Contact, else in Expires."""
    if response is None:
        return None
    for contact in response.contacts:
        if isinstance(contact.uri, SipUri) and contact.uri.decoded_user == trunk.user:
            text = contact.parameter("expires") or ""
            if text.isascii() and text.isdigit() and len(text) <= 9:
                return int(text)
    return seconds_of(response, "Expires")
