"""REFER outside of a dialog that names the call it is for (RFC 4538)."""

from __future__ import annotations

import asyncio

import pytest

from rtpmix.sip.events import Responded
from rtpmix.testing import TonePhone
from rtpmix.testing.servers import HOST
from tests.server.transfers import CUSTOMER, TARGET, Stage, perform


async def refer_outside(
    by: TonePhone, dialog: tuple[str, str, str] | None, target: str, named: str | None = None
) -> Responded:
    """Let a phone send a REFER of its own; return the final response."""
    headers = [("Refer-To", f"<{target}>"), ("Contact", f"<{by.uri}>")]
    if dialog is not None:
        call_id, local, remote = dialog
        named = f"{call_id};local-tag={local};remote-tag={remote}"
    if named is not None:
        headers.append(("Target-Dialog", named))
    line = by._line
    to = f"sip:{HOST}"
    number = line.agent.request(
        "REFER", to, flow=line._flow_to(to), from_uri=by.aor, headers=headers, now=line.now
    )
    answer: asyncio.Future[Responded] = line.wait_for(number)
    line.pump()
    return await answer


def test_a_phone_transfers_its_call_from_outside_of_its_dialog() -> None:
    """RFC 4538 section 3; RFC 3515 section 2.4.4: the REFER makes a dialog for its NOTIFYs."""

    async def play(stage: Stage) -> None:
        await stage.connect()
        answer = await refer_outside(stage.agent, stage.agent.dialog, stage.target.uri)
        assert answer.status == 202
        assert answer.response is not None
        assert "tdialog" in stage.server._started().agent._core.config.options
        assert await stage.agent.ended() == "remote-bye"
        await asyncio.sleep(1.5)
        assert stage.heard(stage.customer, stage.target) == ({TARGET}, {CUSTOMER})

    perform(play)


def test_who_knows_the_tags_but_is_somebody_else_may_not_transfer() -> None:
    """RFC 4538 section 5: the tags alone, seen on the way, let nobody in."""

    async def play(stage: Stage) -> None:
        await stage.connect()
        answer = await refer_outside(stage.coach, stage.agent.dialog, stage.target.uri)
        assert answer.status == 403
        assert stage.target.invitation is None

    perform(play)


@pytest.mark.parametrize(
    ("named", "status"),
    [
        (None, 403),
        ("unknown;local-tag=a;remote-tag=b", 403),
        ("x;local-tag=a", 400),
        ("x y;local-tag=a;remote-tag=b", 400),
        ("x" * 5000 + ";local-tag=a;remote-tag=b", 400),
    ],
)
def test_without_a_dialog_that_we_know_there_is_nothing_to_transfer(
    named: str | None, status: int
) -> None:
    async def play(stage: Stage) -> None:
        await stage.connect()
        answer = await refer_outside(stage.agent, None, stage.target.uri, named)
        assert answer.status == status

    perform(play)


def test_a_user_has_to_log_in_first() -> None:
    """RFC 3515 section 5.1: the same login as for an INVITE."""

    async def play(stage: Stage) -> None:
        answer = await refer_outside(stage.agent, None, stage.target.uri, "a;local-tag=b")
        assert answer.status == 401

    perform(play, users={"agent": "secret"}, require_login=True)
