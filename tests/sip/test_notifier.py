"""Subscriptions: RFC 6665 as a notifier has to follow it, in virtual time."""

from __future__ import annotations

from typing import Any

import pytest

from rtpmix.errors import UsageError
from rtpmix.sip.message import Request, Response, respond
from rtpmix.sip.notifier import NotifierLimits
from tests.sip.agents import LIVE, Bob, raw

PACKAGES = {"dialog": "application/dialog-info+xml", "presence": "application/pidf+xml"}


class Watched(Bob):
    """An agent with states to watch; the test is the watcher."""

    def __init__(self, **limits: Any) -> None:
        super().__init__(allow=("INVITE", "ACK", "BYE", "SUBSCRIBE", "REFER"))
        self.notifier = self.agent.notifier
        self.notifier.limits = NotifierLimits(**limits)
        self.branch = 0

    def ask(self, method: str = "SUBSCRIBE", **more: Any) -> list[Request | Response]:
        self.branch += 1
        return self.take(raw(method, branch=f"z9hG4bKw{self.branch}", **more))

    def subscribe(self, expires: int | None = 600, **more: Any) -> int:
        """Subscribe, and get the first state told."""
        headers = "Event: dialog" + (f"\nExpires: {expires}" if expires is not None else "")
        self.ask(headers=headers, **more)
        number = self.notifier.accept(self.told[-1], PACKAGES["dialog"], self.now)
        if expires == 0:
            self.notifier.end(number, "timeout", self.now, self.document)
        else:
            self.notifier.notify(number, self.document, self.now)
        self.drain()
        return number

    @staticmethod
    def document(version: int) -> bytes:
        return f"state {version}".encode()

    @property
    def notifies(self) -> list[Request]:
        return [m for _, _, m in self.sent if isinstance(m, Request) and m.method == "NOTIFY"]

    @property
    def tag(self) -> str:
        """The tag that the dialog has here."""
        return self.notifies[-1].from_.tag or ""

    def reply(self, status: int = 200) -> None:
        """Answer the last NOTIFY."""
        self.take(respond(self.notifies[-1], status).to_bytes())


def states(watched: Watched) -> list[str | None]:
    return [notify.headers.get("Subscription-State") for notify in watched.notifies]


def test_a_subscription_is_answered_and_the_state_told_at_once() -> None:
    """RFC 6665 section 4.2.2: 200 with Expires and Contact, then a NOTIFY in the same dialog."""
    watched = Watched()
    watched.subscribe()
    answer, notify = (message for _, _, message in watched.sent)
    assert isinstance(answer, Response)
    assert (answer.status, answer.expires) == (200, 600)
    assert answer.contacts
    assert isinstance(notify, Request)
    assert notify.call_id == answer.call_id
    assert notify.from_.tag == answer.to.tag
    assert notify.contacts
    assert notify.headers.get("Event") == "dialog"
    assert notify.headers.get("Subscription-State") == "active;expires=600"
    assert (notify.content_type, notify.body) == (PACKAGES["dialog"], b"state 0")


@pytest.mark.parametrize(
    ("headers", "contact", "status", "says"),
    [
        ("", "<sip:a@h>", 489, ("Allow-Events", "dialog, presence")),
        ("Event: weather", "<sip:a@h>", 489, ("Allow-Events", "dialog, presence")),
        ("Event: dialog\nEvent: presence", "<sip:a@h>", 489, None),
        ("Event: dialog", None, 400, None),
        ("Event: dialog\nAccept: text/plain", "<sip:a@h>", 406, None),
        ("Event: dialog\nExpires: 59", "<sip:a@h>", 423, ("Min-Expires", "60")),
        ("Event: dialog\nExpires: 60", "<sip:a@h>", None, None),
        ("Event: DIALOG\nExpires: 0", "<sip:a@h>", None, None),
        ("Event: dialog\nAccept: application/*", "<sip:a@h>", None, None),
        ("Event: dialog\nAccept: x/y, application/dialog-info+xml", "<sip:a@h>", None, None),
    ],
)
def test_what_a_subscribe_is_refused_for(
    headers: str, contact: str | None, status: int | None, says: tuple[str, str] | None
) -> None:
    """RFC 6665 section 4.2.1.1."""
    watched = Watched()
    watched.ask(headers=headers, contact=contact)
    refusal = watched.notifier.refusal(watched.told[-1], PACKAGES)
    assert (refusal.status if refusal else None) == status
    if says is not None:
        assert refusal is not None
        assert says in refusal.headers


def test_a_state_that_changes_under_way_is_told_once_and_newest() -> None:
    watched = Watched()
    number = watched.subscribe()
    for text in (b"one", b"two", b"three"):
        watched.notifier.notify(number, lambda version, text=text: text, watched.now)
    watched.drain()
    assert len(watched.notifies) == 1
    watched.reply()
    assert [notify.body for notify in watched.notifies] == [b"state 0", b"three"]
    watched.reply()
    watched.notifier.notify(number, watched.document, watched.now)
    watched.drain()
    assert watched.notifies[-1].body == b"state 2"  # versions are counted where they are sent


def test_a_subscription_that_nobody_refreshes_ends_with_a_word() -> None:
    """RFC 6665 section 4.2.1.4: terminated, reason timeout; and nothing is left."""
    watched = Watched()
    watched.subscribe(expires=120)
    watched.reply()
    watched.run(119.9)
    assert len(watched.notifies) == 1
    watched.run(120.1)
    assert states(watched)[-1] == "terminated;reason=timeout"
    watched.reply()
    watched.run(300)
    assert len(watched.events("SubscriptionEnded")) == 1
    counts = watched.agent.snapshot()
    assert not any(counts[name] for name in (*LIVE, "subscriptions"))


def test_a_refresh_extends_and_asks_for_the_state_again() -> None:
    watched = Watched()
    number = watched.subscribe(expires=120)
    watched.reply()
    watched.run(100)
    answers = watched.ask(headers="Event: dialog\nExpires: 300", to_tag=watched.tag, cseq=2)
    assert isinstance(answers[0], Response)
    assert (answers[0].status, answers[0].expires) == (200, 300)
    assert watched.events("SubscriptionRefreshed")[-1].over is False
    watched.notifier.notify(number, watched.document, watched.now)
    watched.drain()
    assert states(watched)[-1] == "active;expires=300"
    watched.reply()
    watched.run(399)
    assert len(watched.notifier) == 1


def test_a_refresh_with_zero_ends_it() -> None:
    """RFC 6665 section 4.2.1.4."""
    watched = Watched()
    number = watched.subscribe()
    watched.reply()
    watched.ask(headers="Event: dialog\nExpires: 0", to_tag=watched.tag, cseq=2)
    assert watched.events("SubscriptionRefreshed")[-1].over is True
    watched.notifier.end(number, "timeout", watched.now, watched.document)
    watched.drain()
    assert states(watched)[-1] == "terminated;reason=timeout"
    assert watched.notifies[-1].body == b"state 1"
    watched.reply()
    assert len(watched.notifier) == 0


def test_a_fetch_is_one_notify_and_leaves_nothing() -> None:
    """RFC 6665 section 4.4.3."""
    watched = Watched()
    watched.subscribe(expires=0)
    assert states(watched) == ["terminated;reason=timeout"]
    watched.reply()
    assert len(watched.notifier) == 0


@pytest.mark.parametrize(
    ("headers", "method", "cseq", "status"),
    [
        ("Event: dialog\nExpires: 5", "SUBSCRIBE", 2, 423),
        ("Event: presence", "SUBSCRIBE", 2, 481),
        ("Event: dialog;id=7", "SUBSCRIBE", 2, 481),
        ("", "SUBSCRIBE", 2, 481),
        ("Event: dialog", "SUBSCRIBE", 1, 500),
        ("Refer-To: <sip:a@h>", "REFER", 2, 405),
        ("", "BYE", 2, 405),
    ],
)
def test_other_requests_in_its_dialog_change_nothing(
    headers: str, method: str, cseq: int, status: int
) -> None:
    watched = Watched()
    watched.subscribe()
    answers = watched.ask(method, headers=headers, to_tag=watched.tag, cseq=cseq)
    assert [a.status for a in answers if isinstance(a, Response)] == [status]
    assert len(watched.notifier) == 1


@pytest.mark.parametrize(("status", "lives"), [(200, 1), (500, 1), (481, 0), (489, 0), (404, 0)])
def test_a_watcher_that_has_gone_is_not_told_again(status: int, lives: int) -> None:
    """RFC 6665 section 4.2.2 lists the responses that end a subscription."""
    watched = Watched()
    watched.subscribe()
    watched.reply(status)
    assert len(watched.notifier) == lives


def test_a_watcher_that_answers_nothing_is_gone_after_timer_f() -> None:
    watched = Watched()
    watched.subscribe()
    watched.run(33)
    assert len(watched.notifier) == 0
    assert watched.events("SubscriptionEnded")[-1].cause == "NOTIFY got no answer"


def test_the_last_word_waits_for_the_one_under_way() -> None:
    watched = Watched()
    number = watched.subscribe()
    watched.notifier.end(number, "noresource", watched.now)
    watched.notifier.end(number, "noresource", watched.now)
    watched.drain()
    assert len(watched.notifies) == 1
    watched.reply()
    assert states(watched)[-1] == "terminated;reason=noresource"
    watched.reply()
    assert len(watched.notifier) == 0
    watched.notifier.notify(number, watched.document, watched.now)  # nobody is told
    watched.drain()
    assert len(watched.notifies) == 2


def test_subscriptions_are_limited_in_all_and_for_each_address() -> None:
    watched = Watched(max_per_address=2)
    for number in range(2):
        watched.subscribe(call_id=f"call-{number}")
    watched.ask(headers="Event: dialog", call_id="call-3")
    refusal = watched.notifier.refusal(watched.told[-1], PACKAGES)
    assert refusal is not None
    assert refusal.status == 503
    assert watched.agent.snapshot()["subscriptions_refused"] == 1


def referred(watched: Watched, cseq: int, tag: str) -> int:
    """Let the peer of an answered call send a REFER; return its subscription."""
    watched.ask("REFER", headers="Refer-To: <sip:c@192.0.2.3>", to_tag=tag, cseq=cseq)
    return watched.notifier.accept_refer(watched.told[-1], "message/sipfrag", 60, watched.now)


def test_a_refer_subscribes_within_its_call_and_the_second_one_has_a_number() -> None:
    """RFC 3515 section 2.4.6: from the second REFER on, Event carries the CSeq as its id."""
    watched = Watched()
    _, tag = watched.answered()
    for cseq in (5, 6):
        number = referred(watched, cseq, tag)
        watched.notifier.notify(number, lambda version: b"SIP/2.0 100 Trying\r\n", watched.now)
        watched.drain()
        watched.reply()
    assert [n.headers.get("Event") for n in watched.notifies] == ["refer", "refer;id=6"]
    assert {n.call_id for n in watched.notifies} == {"raw-call-1"}
    assert [n.cseq.number for n in watched.notifies] == [1, 2]


def test_a_refer_subscription_outlives_the_bye_of_its_call() -> None:
    """RFC 5057 section 4: BYE ends the INVITE's usage of a dialog alone."""
    watched = Watched()
    _, tag = watched.answered()
    number = referred(watched, 5, tag)
    watched.ask("BYE", to_tag=tag, cseq=6)
    watched.notifier.end(number, "noresource", watched.now, lambda version: b"SIP/2.0 200 OK\r\n")
    watched.drain()
    assert states(watched) == ["terminated;reason=noresource"]
    watched.reply()
    watched.run(100)
    assert not any(watched.agent.snapshot()[name] for name in (*LIVE, "subscriptions"))


@pytest.mark.parametrize(
    ("event", "status"),
    [("refer", 200), ("refer;id=5", 200), ("refer;id=9", 403), ("dialog", 403)],
)
def test_a_subscribe_in_a_call_can_only_be_for_its_refer(event: str, status: int) -> None:
    """RFC 3515 section 2.4.4: for one that does not exist, 403."""
    watched = Watched()
    _, tag = watched.answered()
    referred(watched, 5, tag)
    watched.drain()
    watched.ask(headers=f"Event: {event}\nExpires: 0", to_tag=tag, cseq=6)
    watched.notifier.receive(watched.told[-1], watched.now)
    assert [a.status for a in watched.drain() if isinstance(a, Response)] == [status]
    assert [e.over for e in watched.events("SubscriptionRefreshed")] == [True] * (status == 200)


def test_a_refer_outside_of_a_call_makes_a_dialog_for_its_notifies() -> None:
    """RFC 3515 section 2.4.4, as RFC 4538 uses it."""
    watched = Watched()
    watched.ask("REFER", headers="Refer-To: <sip:c@192.0.2.3>")
    assert watched.notifier.refusal_of_refer(watched.told[-1]) is None
    number = watched.notifier.accept_refer(watched.told[-1], "message/sipfrag", 60, watched.now)
    watched.notifier.end(number, "noresource", watched.now, lambda version: b"SIP/2.0 200 OK\r\n")
    watched.drain()
    (notify,) = watched.notifies
    assert notify.headers.get("Event") == "refer"
    assert notify.to.tag == "alice1"
    watched.reply()
    assert watched.agent.snapshot()["subscriptions"] == watched.agent.snapshot()["dialogs"] == 0


def test_a_refer_without_a_contact_can_not_be_told_of_anything() -> None:
    watched = Watched()
    watched.ask("REFER", headers="Refer-To: <sip:c@192.0.2.3>", contact=None)
    refusal = watched.notifier.refusal_of_refer(watched.told[-1])
    assert refusal is not None
    assert refusal.status == 400
    with pytest.raises(UsageError, match="Contact"):
        watched.notifier.accept_refer(watched.told[-1], "message/sipfrag", 60, watched.now)
