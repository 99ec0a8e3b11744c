"""What a test phone does in an answered call: hold, transfers, requests of any method."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from enum import Enum

from ..errors import CallFailed, UsageError
from ..sip import events
from ..sip.dialog_reference import DialogReference
from ..sip.message import Request
from ..sip.refer import read_sipfrag, refer_to
from .phone_line import Header, PhoneLine
from .phone_session import PhoneSession


class PhoneState(Enum):
    """What a phone is doing."""

    IDLE = "idle"
    CALLING = "calling"  # we called, nobody has answered
    RINGING = "ringing"  # somebody calls us
    TALKING = "talking"


class PhoneDialog:
    """The part of a `TonePhone` that needs an answered call.

    Everything raises a `UsageError` without one, and `CallFailed` where the other side refuses what
    changes the call.

    Attributes
    ----------
    requests
        Those other than INVITE that came, newest last.
    """

    user: str
    state: PhoneState
    requests: list[Request]
    _line: PhoneLine
    _session: PhoneSession | None
    _call: int | None

    def check_talking(self) -> None:
        """Raise a `UsageError` without an answered call."""
        if self._call is None or self.state is not PhoneState.TALKING:
            raise UsageError(f"phone {self.user} has no answered call")

    async def hold(self) -> None:
        """Put the other side on hold: a=sendonly, and nothing is said."""
        await self._reoffer(held=True)

    async def resume(self) -> None:
        """Talk again."""
        await self._reoffer(held=False)

    @property
    def dialog(self) -> tuple[str, str, str]:
        """Call-ID, local tag and remote tag of the answered call."""
        found = self._line.agent.dialog_id(self._call) if self._call is not None else None
        if found is None:
            raise UsageError(f"phone {self.user} has no answered call")
        return found

    async def request(
        self,
        method: str,
        headers: Iterable[Header] = (),
        *,
        body: bytes = b"",
        content_type: str | None = None,
    ) -> events.Responded:
        """Send a request other than INVITE in the answered call; return its final response."""
        self.check_talking()
        return await self._line.request_in_call(
            self._call or 0, method, headers, body=body, content_type=content_type
        )

    async def transfer(self, target: str, *, replaces: PhoneDialog | None = None) -> int:
        """Ask the other side to call somebody (REFER); return the status that answers.

        With ``replaces``, another phone of the same person that talks with the target, the
        transfer is an attended one. `told` is how it goes on.
        """
        reference = None
        if replaces is not None:
            call_id, local, remote = replaces.dialog
            reference = DialogReference(call_id, to_tag=remote, from_tag=local)
        answer = await self.request("REFER", [("Refer-To", refer_to(target, reference))])
        return answer.status

    @property
    def told(self) -> list[int]:
        """The statuses that NOTIFYs of a transfer have told (RFC 3515 section 2.4.5)."""
        fragments = (read_sipfrag(each.body) for each in self.requests if each.method == "NOTIFY")
        return [fragment[0] for fragment in fragments if fragment is not None]

    async def _reoffer(self, *, held: bool) -> None:
        self.check_talking()
        session, call = self._session, self._call
        assert session is not None
        assert call is not None
        self._line.agent.reinvite(call, session.reoffer(held=held), self._line.now)
        waiting: asyncio.Future[events.ReinviteAnswered] = self._line.wait_for(call)
        self._line.pump()
        answer = await waiting
        if answer.status >= 300 or answer.response is None:
            raise CallFailed(status=answer.status, reason=answer.reason, target="the call")
        session.accept_answer(answer.response.body)
        session.media.held = held
