"""Transfers that telephones ask for: REFER to a new party, or to one they talk with already.

Theory of operation
-------------------
The server is a back-to-back user agent: it follows the reference itself. The party that is
transferred keeps its dialog, its media and its place; it gets no re-INVITE and no new call. In a
blind transfer the server calls the target, and gives it the transferor's seat in one matrix. In an
attended transfer both calls are in this server, and what is left of the two bridges becomes one.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ..errors import CallFailed, CapacityError, SipParseError, SupervisionRefused, UsageError
from ..events import TransferEnded, TransferRefused, TransferStarted
from ..sip import events as sip
from ..sip.dialog_reference import DialogReference, Stage, read_target_dialog
from ..sip.refer import SIPFRAG, Reference, read_refer, sipfrag
from ..sip.uri import OpaqueUri, SipUri
from .outgoing import place_call
from .progress import current_progress
from .seating import TRANSFERRED, Seating
from .supervising import is_same_party
from .transfer_policy import TransferPolicy, TransferRequest, inside_only, is_here, is_user

if TYPE_CHECKING:
    from .leg import Leg
    from .switchboard import Switchboard

RING_S = 60.0  # how long a target may ring
SUBSCRIPTION_S = 180  # longer than any transfer takes
LAST_NOTIFY_S = 2.0  # for the transferor to hear of the end before its BYE


class Transfer:
    """One transfer under way."""

    def __init__(self, transfers: Transfers, leg: Leg, bridge: Seating, reference: Reference):
        self.leg = leg
        self.bridge = bridge
        self.role = bridge.role(leg)
        self.reference = reference
        self.subscription: int | None = None  # None for one who wants no NOTIFY
        self.told = asyncio.Event()  # the transferor knows the end
        self.latest = (100, "Trying")
        self._transfers = transfers

    @property
    def target(self) -> str:
        """The URI to be called."""
        return str(self.reference.target)

    def tell(self, status: int, reason: str = "") -> None:
        """Report progress to the transferor."""
        self.latest = (status, reason)
        self._transfers.notify(self)

    def finish(self, status: int, reason: str = "") -> None:
        """Report the end to the transferor."""
        self.latest = (status, reason)
        self._transfers.notify(self, last=True)


class Transfers:
    """The transfers of one server.

    References
    ----------
    RFC 3515; RFC 5589 sections 6 and 7; RFC 4488; RFC 7647
    """

    def __init__(self, board: Switchboard) -> None:
        self.policy: TransferPolicy = inside_only
        self.counters = {"asked": 0, "refused": 0, "completed": 0, "failed": 0}
        self._board = board
        self._by_leg: dict[int, Transfer] = {}
        self._by_subscription: dict[int, Transfer] = {}

    def __len__(self) -> int:
        return len(self._by_leg)

    # ------------------------------------------------------------------ what phones ask

    def referred(self, event: sip.Requested, leg: Leg | None) -> None:
        """Take a REFER."""
        self.counters["asked"] += 1
        if event.call is None:
            leg = self._targeted(event)
            if leg is None:
                return
        if leg is None or not leg.is_open:  # outside of a call there is nothing to transfer
            self._respond(event, 481)
            return
        bridge = leg.bridge
        if bridge is None or leg.number in (s.leg.number for s in bridge.supervisions):
            self._respond(event, 603)
            return
        if leg.number in self._by_leg:
            self._respond(event, 491)
            return
        try:
            reference = read_refer(event.message)
        except SipParseError as error:
            self._respond(event, error.status_hint or 400)
            return
        attended = self._own_dialog(reference)
        allowed = self._may_join(leg, attended) if attended is not None else None
        if allowed is None:
            allowed = self.policy(self._request(leg, reference))
        if not allowed:
            self._refuse(event, leg, str(reference.target))
        elif isinstance(reference.target, OpaqueUri) and attended is None:
            self._respond(event, 416)
        else:
            self._begin(event, Transfer(self, leg, bridge, reference), attended)

    def _targeted(self, event: sip.Requested) -> Leg | None:
        """Return the leg that a REFER outside of its call is for; None where it was answered.

        To know a dialog's tags is not enough: its sender has to be the party of that call, by its
        login or, of strangers, by its address (RFC 4538 section 5).
        """
        board, request = self._board, event.message
        why = board.agent.notifier.refusal_of_refer(event)
        if why is not None:
            board.agent.respond(
                event.request, why.status, board.now, reason=why.reason, headers=why.headers
            )
            return None
        user, refusal = board.directory.identify(request, event.flow, board.now)
        if refusal is not None:
            board.agent.respond(event.request, refusal.status, board.now, headers=refusal.headers)
            return None
        try:
            named = read_target_dialog(request)
        except SipParseError as error:
            self._respond(event, error.status_hint or 400)
            return None
        found = board.agent.find_dialog(named) if named is not None else None
        leg = board.leg_of(found.call) if found is not None else None
        if leg is not None:
            same = leg.user == user and (user or leg.flow.remote[0] == event.flow.remote[0])
            if same:
                return leg
        self._respond(event, 403)
        return None

    def allows_redirect(self, target: SipUri) -> bool:
        """Ask the policy of a contact in a 3xx."""
        return self.policy(self._request(None, Reference(target)))

    def _request(self, leg: Leg | None, reference: Reference) -> TransferRequest:
        target, board = reference.target, self._board
        user = (target.decoded_user or "") if isinstance(target, SipUri) else str(target)
        room = board.find_bridge(user) if is_here(board, target) else None
        return TransferRequest(
            leg=leg,
            target=str(target),
            user=user,
            attended=reference.replaces is not None,
            inside=is_user(board, target) or (room is not None and room.name == user),
        )

    def _own_dialog(self, reference: Reference) -> Leg | None:
        """Return the leg whose dialog an attended transfer names, if it is one of ours."""
        if reference.replaces is None:
            return None
        found = self._board.agent.find_dialog(reference.replaces.dialog_id)
        if found is None or found.stage is not Stage.CONFIRMED:
            return None
        return self._board.leg_of(found.call)

    @staticmethod
    def _may_join(leg: Leg, other: Leg) -> bool:
        """Say whether somebody may join two calls: both must be theirs (RFC 3891 section 3)."""
        return other is not leg and is_same_party(leg, other)

    def _refuse(self, event: sip.Requested, leg: Leg, target: str) -> None:
        self.counters["refused"] += 1
        self._respond(event, 403)
        self._board.publish(TransferRefused(at=self._board.now, leg=leg.id, target=target))

    def _respond(self, event: sip.Requested, status: int) -> None:
        self._board.agent.respond(event.request, status, self._board.now)

    def _begin(self, event: sip.Requested, transfer: Transfer, attended: Leg | None) -> None:
        board, now = self._board, self._board.now
        if transfer.reference.silent:
            headers = (("Refer-Sub", "false"), ("Supported", "norefersub"))  # RFC 4488 section 4
            board.agent.respond(event.request, 202, now, headers=headers)
        else:
            transfer.subscription = board.agent.notifier.accept_refer(
                event, SIPFRAG, SUBSCRIPTION_S, now
            )
            self._by_subscription[transfer.subscription] = transfer
        self._by_leg[transfer.leg.number] = transfer
        board.publish(
            TransferStarted(
                at=now,
                leg=transfer.leg.id,
                bridge=transfer.bridge.id,
                target=transfer.target,
                attended=transfer.reference.replaces is not None,
            )
        )
        transfer.tell(100)
        transfer.bridge.outlive(transfer.leg.scope)
        transfer.bridge.expect()
        board.spawn(self._carry_out(transfer, attended))

    # ------------------------------------------------------------------ doing it

    async def _carry_out(self, transfer: Transfer, attended: Leg | None) -> None:
        by: Leg | None = None
        try:
            room = self._room(transfer)
            if attended is not None:
                await self._join_calls(transfer, attended)
            elif room is not None:
                await room.absorb(
                    transfer.bridge, place=None, leaving=transfer.leg, who=transfer.leg.user or ""
                )
            else:
                by = await self._connect(transfer)
            status, reason = 200, "OK"
        except CallFailed as failed:
            status, reason = failed.status, failed.reason
        except (UsageError, SupervisionRefused):
            status, reason = 480, "Temporarily Unavailable"  # who was there is gone meanwhile
        except asyncio.CancelledError:  # the server is closing
            transfer.finish(503, "Service Unavailable")
            raise
        except CapacityError:
            status, reason = 503, "Service Unavailable"
        finally:
            self._by_leg.pop(transfer.leg.number, None)
        self._ended(transfer, status, reason, by)
        if status < 300:
            await self._say_goodbye(transfer)
            if attended is not None and attended.is_open:
                await attended.hangup(TRANSFERRED)
        transfer.bridge.expected()

    def _room(self, transfer: Transfer) -> Seating | None:
        target = transfer.reference.target
        if not is_here(self._board, target) or is_user(self._board, target):
            return None
        user = target.decoded_user if isinstance(target, SipUri) else None
        room = self._board.find_bridge(user) if user else None
        return room if room is not transfer.bridge else None

    async def _connect(self, transfer: Transfer) -> Leg:
        """Call the target, and give it the transferor's place."""
        bridge = transfer.bridge
        by = await self._call(transfer)
        try:
            if transfer.leg.bridge is bridge:
                await bridge.replace(transfer.leg, by, who=transfer.leg.user or "")
            else:  # the transferor hung up while the target rang
                await bridge.add(by, role=transfer.role)
        except (UsageError, SupervisionRefused):
            await by.hangup()
            raise
        return by

    async def _call(self, transfer: Transfer) -> Leg:
        """Call the target for as long as there is somebody to be connected to it."""
        others = transfer.bridge.speakers(without=transfer.leg)
        if not others:
            raise CallFailed(status=480, reason="Nobody is there", target=transfer.target)
        current_progress.set(transfer.tell)
        calling = asyncio.ensure_future(
            place_call(
                self._board,
                transfer.target,
                headers=_referred_headers(transfer.reference, transfer.leg),
                timeout_s=RING_S,
                auto_answer=False,
                credentials=None,
                **_shown(others, transfer.leg),
            )
        )
        left = asyncio.ensure_future(_all_closed(others))
        try:
            await asyncio.wait((calling, left), return_when=asyncio.FIRST_COMPLETED)
            if not calling.done():
                raise CallFailed(status=487, reason="Request Terminated", target=transfer.target)
            return calling.result()
        finally:
            left.cancel()
            if not calling.done():
                calling.cancel()
                await asyncio.gather(calling, return_exceptions=True)

    async def _join_calls(self, transfer: Transfer, other: Leg) -> None:
        """Make one conversation of the transferor's two; a room stays where it is."""
        here, there = transfer.bridge, other.bridge
        who = transfer.leg.user or ""
        if there is None or there is here:
            raise CallFailed(status=480, reason="Nobody is there", target=transfer.target)
        there.outlive(other.scope)
        if there.is_shared and not here.is_shared:
            await there.absorb(here, place=other, leaving=transfer.leg, who=who)
        else:
            await here.absorb(there, place=transfer.leg, leaving=other, who=who)

    async def _say_goodbye(self, transfer: Transfer) -> None:
        """End the transferor's call once it knows how it went; its phone may well be first."""
        if transfer.subscription is not None:
            try:
                async with asyncio.timeout(LAST_NOTIFY_S):
                    await transfer.told.wait()
            except TimeoutError:
                transfer.told.set()  # it may not hear of it: its call is over all the same
        if transfer.leg.is_open:
            await transfer.leg.hangup(TRANSFERRED)

    # ------------------------------------------------------------------ telling

    def _ended(self, transfer: Transfer, status: int, reason: str, by: Leg | None) -> None:
        self.counters["completed" if status < 300 else "failed"] += 1
        transfer.finish(status, reason)
        self._board.publish(
            TransferEnded(
                at=self._board.now,
                leg=transfer.leg.id,
                bridge=transfer.bridge.id,
                target=transfer.target,
                status=status,
                reason=reason,
                by=by.id if by is not None else None,
            )
        )

    def notify(self, transfer: Transfer, *, last: bool = False) -> None:
        """Send the transferor what there is to know (RFC 3515 section 2.4.4)."""
        number, notifier = transfer.subscription, self._board.agent.notifier
        if number is None:
            return
        status, reason = transfer.latest
        if last:
            fragment = sipfrag(status, reason)
            notifier.end(number, "noresource", self._board.now, lambda version: fragment)
        else:
            notifier.notify(number, lambda version: sipfrag(*transfer.latest), self._board.now)
        self._board.pump()

    def subscription_refreshed(self, event: sip.SubscriptionRefreshed) -> bool:
        """Tell the state again to a transferor who asks; False for somebody else's."""
        transfer = self._by_subscription.get(event.subscription)
        if transfer is None:
            return False
        if event.over:
            fragment = sipfrag(*transfer.latest)
            self._board.agent.notifier.end(
                event.subscription, "timeout", self._board.now, lambda version: fragment
            )
        else:
            self.notify(transfer)
        return True

    def subscription_ended(self, event: sip.SubscriptionEnded) -> bool:
        """Forget a transferor who wants to hear no more; False for somebody else's."""
        transfer = self._by_subscription.pop(event.subscription, None)
        if transfer is None:
            return False
        transfer.told.set()
        return True


def _shown(others: list[Leg], leg: Leg) -> dict[str, Any]:
    """Return as whom the target is called, the one who is transferred if that is one, and in
    which session (RFC 7989 section 6 keeps it through a transfer)."""
    one = others[0] if len(others) == 1 else leg
    session = leg.session_id or one.session_id
    return {
        "caller": one.remote if one.asserted is None else None,
        "identity": one.asserted,
        "session_id": session[0] if session is not None else None,
    }


def _referred_headers(reference: Reference, leg: Leg) -> tuple[tuple[str, str], ...]:
    """Return what the target is told: who sent the call (RFC 3892), and whose place it is."""
    referred_by = ("Referred-By", reference.referred_by or f"<{leg.remote}>")
    replaces: DialogReference | None = reference.replaces
    if replaces is None:
        return (referred_by,)
    return (referred_by, ("Replaces", str(replaces)), ("Require", "replaces"))


async def _all_closed(legs: list[Leg]) -> None:
    for leg in legs:
        await leg.closed()
