"""Transfers that this server asks of a peer: REFER out, and what its NOTIFYs say."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ..errors import CallFailed, UsageError
from ..sip import events as sip
from ..sip.dialog_reference import DialogReference
from ..sip.refer import read_sipfrag, refer_to
from ..sip.subscribe import read_event
from .destinations import parse_target

if TYPE_CHECKING:
    from .leg import Leg
    from .switchboard import Switchboard


class Referrals:
    """REFERs of ours whose outcome is awaited, at most one in each call."""

    def __init__(self, board: Switchboard) -> None:
        self._board = board
        self._outcomes: dict[int, asyncio.Future[tuple[int, str]]] = {}  # by call

    async def refer(
        self, leg: Leg, target: str, *, replaces: Leg | None = None, timeout_s: float = 60.0
    ) -> None:
        """Ask a peer to call somebody; see `Leg.refer`."""
        if not leg.is_open or leg.call in self._outcomes:
            raise UsageError(f"{leg.id} is closed, or is being transferred already")
        parse_target(target)
        headers = [
            ("Refer-To", refer_to(target, self._reference(replaces))),
            ("Referred-By", f"<{self._board.own_uri(leg.flow)}>"),
        ]
        outcome: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        self._outcomes[leg.call] = outcome
        ended = asyncio.ensure_future(leg.closed())
        try:
            answer = await self._board.ask("REFER", leg, headers)
            if answer.status >= 300:
                raise CallFailed(status=answer.status, reason=answer.reason, target=target)
            await asyncio.wait(
                (outcome, ended), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
            if not outcome.done():
                status = 487 if ended.done() else 408
                raise CallFailed(status=status, reason="the outcome is not known", target=target)
            status, reason = outcome.result()
            if status >= 300:
                raise CallFailed(status=status, reason=reason, target=target)
        finally:
            ended.cancel()
            del self._outcomes[leg.call]

    def _reference(self, leg: Leg | None) -> DialogReference | None:
        if leg is None:
            return None
        found = self._board.agent.dialog_id(leg.call)
        if found is None:
            raise UsageError(f"{leg.id} is closed: nobody can take its place")
        call_id, local, remote = found
        return DialogReference(call_id, to_tag=remote, from_tag=local)  # as its peer sees it

    def notified(self, event: sip.Requested) -> None:
        """Take a NOTIFY in a call (RFC 3515 section 2.4.5); without a REFER of ours 481."""
        outcome = self._outcomes.get(event.call or 0)
        request, name = event.message, read_event(event.message)
        if outcome is None or name is None or name.package != "refer":
            status = 481 if name is None or name.package == "refer" else 489
            self._board.agent.respond(event.request, status, self._board.now)
            return
        self._board.agent.respond(event.request, 200, self._board.now)
        progress = read_sipfrag(request.body)
        if progress is not None and progress[0] >= 200 and not outcome.done():
            outcome.set_result(progress)
