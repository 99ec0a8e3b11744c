"""A call that this server places: one INVITE per contact, the first answer wins."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import CallFailed, SdpError
from ..sdp.security import Encryption
from ..sip import events as sip
from ..sip.authentication import Credential
from ..sip.flow import Flow
from ..sip.identity import CallerIdentity
from .destinations import Destination, parse_target, resolve
from .leg import Leg
from .outcomes import best_of, failure_of
from .progress import current_early, current_progress
from .scope import current_scope
from .senders import Sender

if TYPE_CHECKING:
    from .media_session import MediaSession
    from .switchboard import Switchboard

logger = logging.getLogger(__name__)

# Phones that know one of these answer by themselves; the others ring.
AUTO_ANSWER = (
    ("Call-Info", "<sip:rtpmix>;answer-after=0"),
    ("Alert-Info", "<sip:rtpmix>;info=alert-autoanswer"),
)


LARGE = 1300  # octets: what may be fragmented on the way, and lost with any fragment
NEXT_AFTER_S = 4.0  # without any response, before the next of several servers is tried

# A device's flow that fails this way is no way to it any more (RFC 5626 sections 5.3 and 11.5).
FLOW_FAILED = 430


ELSEWHERE = 'SIP;cause=200;text="Call completed elsewhere"'  # RFC 3326 section 2


class OutgoingCall:
    """One INVITE on its way to an answer."""

    def __init__(
        self,
        board: Switchboard,
        destination: Destination,
        user: str | None,
        *,
        is_last: bool = True,
        may_switch: bool = True,
    ) -> None:
        self._board = board
        self._is_last = is_last
        self._may_switch = may_switch
        self.switched = False  # from UDP to TCP
        self._destination = destination
        self._user = user
        self._call = self._number = 0
        self._media: MediaSession | None = None
        self.flow_failed = False
        self.is_lost = False  # nothing could be sent there
        self._answer: asyncio.Future[sip.Answered | Leg] = (
            asyncio.get_running_loop().create_future()
        )
        self._on_progress = current_progress.get()
        self._on_early = current_early.get()
        self._early: dict[str, bytes] = {}  # answers that came before the 2xx, by To tag
        self._leg: Leg | None = None  # with early media

    async def place(self, sender: Sender) -> Leg:
        """Send the INVITE and wait for its answer; cancelling this cancels the call.

        Raises
        ------
        CallFailed, CapacityError
        """
        number, media = self._number, self._media = self._board.new_media(
            sender.encryption, self._destination.flow
        )
        from_uri, from_name, headers = sender.seen_by(self._board, self._destination)
        try:
            await media.reserve(self._destination.flow.remote)
            self._call = self._board.agent.invite(
                self._destination.uri,
                flow=self._destination.flow,
                from_uri=from_uri,
                from_name=from_name,
                headers=(*self._destination.routes, *headers),
                body=media.offer(),
                credentials=self._destination.credentials,
                flow_for=self._flow_for,
                session_id=sender.session_id,
                now=self._board.now,
            )
            self._board.expect(self._call, self)
            self._board.pump()
            with self._impatience():
                answer = await self._answer
        except BaseException:
            self._abandon()
            self._close(media)
            raise
        if isinstance(answer, Leg):
            self._close(media)
            return self._give_way_to(answer)
        return self._set_up(number, media, answer)

    def _flow_for(self, size: int) -> Flow:
        """Take TCP for what is too large for UDP (RFC 3261 section 18.1.1)."""
        flow, hop, board = self._destination.flow, self._destination.hop, self._board
        if size <= LARGE or hop is None or hop.transport != "UDP" or not self._may_switch:
            return flow
        over_tcp = ("TCP", ":" in hop.address[0])
        if not board.config.large_requests_over_tcp or over_tcp not in board.open_shell.reachable:
            return flow
        self.switched = True
        return board.flow_to("TCP", hop.address, flow.name)

    @contextlib.contextmanager
    def _impatience(self) -> Iterator[None]:
        """Do not wait 64*T1 for a server that says nothing, where there is another one."""
        if self._is_last or not self._destination.is_one_of_several:
            yield
            return
        loop = asyncio.get_running_loop()
        timer = loop.call_later(NEXT_AFTER_S, self._next_if_silent)
        try:
            yield
        finally:
            timer.cancel()

    def _next_if_silent(self) -> None:
        if self._answer.done() or self._board.agent.is_heard_of(self._call):
            return
        self._board.agent.cancel(self._call, self._board.now)
        self.failed(sip.Failed(self._call, 408, "Request Timeout"))

    def _give_way_to(self, leg: Leg) -> Leg:
        """Stop ringing: another phone took the call (RFC 3891 section 3)."""
        self._board.unexpect(self._call)
        self._board.agent.cancel(self._call, self._board.now, ELSEWHERE)
        self._board.pump()
        leg.enter_scope(current_scope.get())
        return leg

    @property
    def user(self) -> str | None:
        """The user of ours who is being called, or None."""
        return self._user

    def picked_up(self, leg: Leg) -> bool:
        """Let a phone that called us have the call that we place; False where that is too late."""
        if self._answer.done():
            return False
        self._answer.set_result(leg)
        return True

    def _close(self, media: MediaSession) -> None:
        if self._leg is None:
            media.close()
        else:
            self._leg.end("not answered")

    def _new_leg(self, number: int, media: MediaSession, flow: Flow) -> Leg:
        return Leg(
            self._board,
            number=number,
            call=self._call,
            media=media,
            remote=self._destination.uri,
            user=self._user,
            direction="outbound",
            flow=flow,
            scope=current_scope.get(),
        )

    def _set_up(self, number: int, media: MediaSession, event: sip.Answered) -> Leg:
        board, target, early = self._board, self._destination.uri, self._leg
        if early is not None and not early.is_open:  # hung up in the moment of the answer
            board.agent.bye(self._call, board.now)
            board.pump()
            raise CallFailed(status=487, reason="Request Terminated", target=target)
        leg = early or self._new_leg(number, media, event.flow)
        leg.early = False
        leg.note_user_to_user(event.response)
        leg.known_as = str(event.response.to.uri)
        leg.asserted = board.extensions.identities.read(event.response, event.flow)
        board.adopt(leg)
        try:
            # A reliable response has brought the answer where the 2xx has none (RFC 3262).
            known = self._early.get(event.response.to.tag or "", b"")
            media.accept_answer(event.response.body or known)
        except SdpError as error:
            board.agent.bye(self._call, board.now)
            leg.end("no-media", str(error))
            board.pump()
            raise CallFailed(status=488, reason="Not Acceptable Here", target=target) from error
        if early is None:
            leg.announce()
        return leg

    def _abandon(self) -> None:
        # Whoever is cancelled while it waits for a future cancels that future too.
        if self._call and (not self._answer.done() or self._answer.cancelled()):
            self._board.unexpect(self._call)
            self._board.agent.cancel(self._call, self._board.now)
        elif self._call and self._answer.exception() is None:
            # Answered in the very moment in which the program gave up.
            self._board.unexpect(self._call)
            self._board.agent.bye(self._call, self._board.now)
        self._board.pump()

    # ------------------------------------------------------ what the server tells

    def progressed(self, event: sip.Progressed) -> None:
        """It rings there, or something else is said before the answer."""
        if self._on_progress is not None:
            self._on_progress(event.response.status, event.response.reason)
        if event.response.body and event.response.content_type == "application/sdp":
            self._early[event.tag or ""] = event.response.body
            self._open_early(event.response.body)

    def _open_early(self, body: bytes) -> None:
        """Let the program have what is heard before the answer; the last fork's wins (RFC 3960)."""
        if self._on_early is None or self._media is None:
            return
        try:
            self._media.preview(body)
        except SdpError as error:
            logger.info("early media can't be used: %s", error)
            return
        if self._leg is None:
            self._leg = self._new_leg(self._number, self._media, self._destination.flow)
            self._leg.early = True
            self._board.adopt(self._leg)
            self._leg.announce()
            self._on_early(self._leg)

    def answered(self, event: sip.Answered) -> None:
        """A 2xx came."""
        if not self._answer.done():
            self._answer.set_result(event)

    def failed(self, event: sip.Failed) -> None:
        """The call will not be answered."""
        self._board.unexpect(self._call)
        lost = event.status == FLOW_FAILED or (event.response is None and event.status == 503)
        self.is_lost = event.response is None and event.status == 503
        binding = self._destination.binding
        self.flow_failed = lost and binding is not None and binding.is_outbound
        if self._destination.is_one_of_several:  # RFC 3263 section 4.3: and no answer at all
            self.flow_failed = lost or event.status == 503 or event.response is None
        self._judge(event)
        if self.flow_failed and binding is not None:
            self._board.directory.leads_nowhere(self._user or "", binding)
        if not self._answer.done():
            self._answer.set_exception(failure_of(event, self._destination.uri))

    def _judge(self, event: sip.Failed) -> None:
        """Remember how the server did that DNS named (RFC 3263 section 4.3)."""
        hop, penalties = self._destination.hop, self._board.locator.penalties
        if hop is None or event.status == 487 or self.switched:
            return
        if event.response is None or event.status == 503:
            penalties.failed(hop, self._board.now)
        else:
            penalties.worked(hop)

    def ended(self, event: sip.Ended) -> None:
        """The dialog ended between its 2xx and our reading of it."""
        self._board.unexpect(self._call)
        if not self._answer.done():
            target = self._destination.uri
            self._answer.set_exception(CallFailed(status=487, reason=event.cause, target=target))


async def place_call(
    board: Switchboard,
    target: str,
    *,
    caller: str | None,
    headers: Sequence[tuple[str, str]],
    timeout_s: float,
    auto_answer: bool,
    credentials: Credential | None,
    trunk: str | None = None,
    identity: CallerIdentity | None = None,
    session_id: str | None = None,
    encryption: Encryption | None = None,
) -> Leg:
    """Call every contact of ``target`` at once; the first that answers becomes the leg.

    Raises
    ------
    CallFailed
        With the best failure of all contacts (RFC 3261 section 16.7 step 6), or 408.
    """
    line = None if trunk is None else board.trunks.find(trunk)
    if line is not None:
        target = line.trunk.target(target)
        caller = caller or line.trunk.address
    uri = parse_target(target)
    devices = [await line.destinations(target)] if line is not None else await resolve(board, uri)
    if credentials is not None:
        devices = [[replace(each, credentials=credentials) for each in flows] for flows in devices]
    user = uri.decoded_user if line is None and board.is_local(uri) else None
    if user is not None and not board.config.call_waiting and board.in_call(user):
        raise CallFailed(status=486, reason="Busy Here", target=target)
    extra = (*headers, *(AUTO_ANSWER if auto_answer else ()))
    scope = current_scope.get()
    session_id = session_id or (scope.session if scope is not None else None)
    sender = Sender(caller, identity, extra, trunk, session_id, encryption)
    pending = {asyncio.ensure_future(_place(board, flows, user, sender)) for flows in devices}
    failures: list[CallFailed] = []
    try:
        async with asyncio.timeout(timeout_s):
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                legs = [_outcome(task, failures) for task in done]
                winners = [leg for leg in legs if leg is not None]
                for late in winners[1:]:  # two answers in one turn of the loop
                    await late.hangup()
                if winners:
                    return winners[0]
    except TimeoutError:
        raise CallFailed(status=408, reason="Request Timeout", target=target) from None
    finally:
        await _abandon_all(pending)
    raise best_of(failures)


async def _place(
    board: Switchboard,
    flows: Sequence[Destination],
    user: str | None,
    sender: Sender,
) -> Leg:
    """Call one device, by its next flow where one has failed (RFC 5626 section 5.3).

    Raises
    ------
    CallFailed, CapacityError
    """
    waiting = [(destination, True) for destination in flows]
    while True:
        destination, may_switch = waiting.pop(0)
        call = OutgoingCall(board, destination, user, is_last=not waiting, may_switch=may_switch)
        try:
            return await call.place(sender)
        except CallFailed:
            if call.switched and call.is_lost:
                waiting.insert(0, (destination, False))
            elif not call.flow_failed or not waiting:
                raise


def _outcome(task: asyncio.Task[Leg], failures: list[CallFailed]) -> Leg | None:
    try:
        return task.result()
    except CallFailed as failure:
        failures.append(failure)
        return None


async def _abandon_all(tasks: set[asyncio.Task[Leg]]) -> None:
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Leg):
            await result.hangup()
