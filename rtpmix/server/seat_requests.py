"""INVITEs that name a call of ours: Replaces takes a seat, Join brings a supervisor in.

A user of the server may take over their own call with another phone, and pick up a call that
rings for them. Everything else is for the program to allow: nobody listens in by default.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import CallFailed, SdpError, SipParseError, SupervisionRefused, UsageError
from ..events import SeatRefused
from ..sdp.description import parse_sdp
from ..sdp.stream import read_audio
from ..sip.dialog_reference import DialogReference, FoundDialog, References, Stage, read_references
from ..sip.message import Request
from ..sip.uri import SipUri
from ..supervision import Fate, Mode, Role
from .incoming import Handler, IncomingCall
from .leg import Leg

if TYPE_CHECKING:
    from .outgoing import OutgoingCall
    from .seating import Seating
    from .switchboard import Switchboard

REPLACED = 'SIP;cause=200;text="Replaced"'  # RFC 3326


@dataclass(frozen=True, slots=True, kw_only=True)
class SeatRequest:
    """Somebody who calls wants a place in a call of others, for a policy to judge.

    Attributes
    ----------
    identity
        The user that the caller proved to be, or None.
    act
        "replace" a leg, "pick-up" a call that rings, or the mode of a supervisor who joins:
        "monitor", "whisper", "barge", "takeover".
    user
        Whose call it is: the user of the leg, or who is being called; None for a stranger.
    leg
        The leg concerned; None for a pick-up.
    """

    identity: str | None
    act: str
    user: str | None
    leg: Leg | None


SeatPolicy = Callable[[SeatRequest], bool]


def own_calls_only(request: SeatRequest) -> bool:
    """Let users replace and pick up what is theirs (RFC 3891 section 3), and nobody join."""
    own = request.identity is not None and request.identity == request.user
    return own and request.act in ("replace", "pick-up")


class SeatRequests:
    """Takes INVITEs with Replaces or Join.

    References
    ----------
    RFC 3891 section 3; RFC 3911 section 4
    """

    def __init__(self, board: Switchboard) -> None:
        self.policy: SeatPolicy = own_calls_only
        self.counters = {"replaced": 0, "picked_up": 0, "joined": 0, "refused": 0}
        self._board = board

    def handler_for(self, request: Request) -> Handler | None:
        """Return who serves an INVITE that names a dialog; None for every other."""
        if "Replaces" not in request.headers and "Join" not in request.headers:
            return None
        try:
            references = read_references(request)
        except SipParseError:
            return self._reject_400
        if references.join is not None and self._find(references.join) is None:
            dialled = request.request_uri
            user = dialled.decoded_user if isinstance(dialled, SipUri) else None
            if user and self._board.find_bridge(user) is not None:
                return None  # RFC 3911 section 4: a conference's URI is enough
        return lambda call: self._serve(call, references)

    async def _reject_400(self, call: IncomingCall) -> None:
        await call.reject(400, "Bad Request")

    async def _serve(self, call: IncomingCall, references: References) -> None:
        reference = references.replaces or references.join
        found = self._find(reference) if reference is not None else None
        if reference is None or found is None:
            await call.reject(481, "Call/Transaction Does Not Exist")
        elif references.join is not None:
            await self._join(call, reference, found)
        elif found.stage is Stage.EARLY_THEIRS:
            await call.reject(481, "Call/Transaction Does Not Exist")
        elif found.stage is Stage.EARLY_OURS:
            await self._pick_up(call, found)
        elif reference.early_only:
            await call.reject(486, "Busy Here")
        else:
            await self._replace(call, found)

    def _find(self, reference: DialogReference) -> FoundDialog | None:
        """Return the call that a reference names, seen from either end of its dialog.

        A phone that learnt of a dialog from a NOTIFY of ours (RFC 4235) has the tags as the
        watched phone sees them, and sends its INVITE to us.
        """
        agent, (call_id, local, remote) = self._board.agent, reference.dialog_id
        return agent.find_dialog((call_id, local, remote)) or agent.find_dialog(
            (call_id, remote, local)
        )

    async def _may(self, call: IncomingCall, act: str, user: str | None, leg: Leg | None) -> bool:
        """Ask the policy; tell who is turned away, and ask a stranger to log in first."""
        request = SeatRequest(identity=call.identity, act=act, user=user, leg=leg)
        if self.policy(request):
            return True
        self.counters["refused"] += 1
        self._board.publish(
            SeatRefused(
                at=self._board.now,
                leg=leg.id if leg is not None else None,
                act=act,
                identity=call.identity,
            )
        )
        if call.identity is None and self._board.config.has_users:
            await call.challenge()
        else:
            await call.reject(403, "Forbidden")
        return False

    # ------------------------------------------------------------------ Replaces

    async def _replace(self, call: IncomingCall, found: FoundDialog) -> None:
        before = self._board.leg_of(found.call)
        bridge = before.bridge if before is not None else None
        if before is None or bridge is None or not before.is_open:
            await call.reject(603, "Decline")
            return
        if not await self._may(call, "replace", before.user, before):
            return
        if bridge.call.party(before.number).fate is Fate.LEAVE:
            await call.reject(603, "Decline")
            return
        leg = await call.answer()
        try:
            if before.bridge is not bridge:
                raise UsageError("the call that was to be replaced is gone")
            bridge.outlive(before.scope)
            await bridge.replace(before, leg, who=call.identity or "")
        except (UsageError, SupervisionRefused):
            await leg.hangup(REPLACED)  # nothing has changed for the others
            return
        leg.leave_scope(call.scope)
        self.counters["replaced"] += 1
        await before.hangup(REPLACED)

    async def _pick_up(self, call: IncomingCall, found: FoundDialog) -> None:
        """Answer a call of ours in the place of the phone that rings (RFC 3891 section 3)."""
        ringing: OutgoingCall | None = self._board.outgoing(found.call)
        if ringing is None:
            await call.reject(481, "Call/Transaction Does Not Exist")
        elif await self._may(call, "pick-up", ringing.user, None):
            leg = await call.answer()
            leg.leave_scope(call.scope)
            if ringing.picked_up(leg):
                self.counters["picked_up"] += 1
            else:  # somebody else was faster
                await leg.hangup(REPLACED)

    # ------------------------------------------------------------------ Join

    async def _join(
        self, call: IncomingCall, reference: DialogReference, found: FoundDialog
    ) -> None:
        leg = self._board.leg_of(found.call)
        bridge = leg.bridge if leg is not None else None
        if leg is None or bridge is None or not leg.is_open:
            await call.reject(480, "Temporarily Unavailable")
            return
        try:
            mode = mode_of(call.request, reference)
        except SipParseError as error:
            await call.reject(error.status_hint or 400)
            return
        if await self._may(call, mode.value, leg.user, leg):
            await self._supervise(call, bridge, leg, mode)

    async def _supervise(self, call: IncomingCall, bridge: Seating, leg: Leg, mode: Mode) -> None:
        supervisor = await call.answer()
        agents = [party for party in bridge.call.parties if party.role is Role.AGENT]
        named = leg.number in (party.seat for party in agents)
        try:
            supervision = await bridge.supervise(
                supervisor,
                agent=leg if named or not agents else None,
                mode=mode,
                who=call.identity or "",
            )
        except (UsageError, SupervisionRefused, CallFailed):
            await supervisor.hangup('SIP;cause=403;text="Refused"')
            return
        supervision.ends_with_leg = True
        supervisor.leave_scope(call.scope)
        self.counters["joined"] += 1


def mode_of(request: Request, reference: DialogReference) -> Mode:
    """Return the mode in which somebody joins.

    A ``mode`` parameter of the Join header or of the Request-URI says it. Else it follows from
    the offer: who only receives is a monitor, who sends speaks to all.

    Raises
    ------
    SipParseError
        400: no such mode; 488: one that speaks, from a phone that does not send.
    """
    dialled = request.request_uri
    named = reference.mode
    if named is None and isinstance(dialled, SipUri):
        named = dialled.parameter("mode")
    sends = _offer_sends(request.body)
    if named is None:
        return Mode.BARGE if sends else Mode.MONITOR
    try:
        mode = Mode(named.lower())
    except ValueError:
        raise SipParseError("no such mode of supervision", status_hint=400) from None
    if mode is not Mode.MONITOR and not sends:
        raise SipParseError("a receive-only phone can only monitor", status_hint=488)
    return mode


def _offer_sends(body: bytes) -> bool:
    """Tell whether an offer is to send; without one, or one to read, nothing is presumed."""
    try:
        session = parse_sdp(body)
        audio = next(media for media in session.media if media.kind == "audio")
        return read_audio(session, audio).direction.sends
    except (SdpError, StopIteration):
        return False
