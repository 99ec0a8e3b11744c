"""Requests in a dialog of more than 1300 octets: over TCP, and over UDP where that fails."""

from __future__ import annotations

import pytest

from rtpmix.sip.events import OfferAnswered, ReinviteAnswered, Responded
from rtpmix.sip.flow import Flow
from rtpmix.sip.large_requests import LARGE
from rtpmix.sip.user_agent import UserAgent
from tests.sip.agents import ALICE, BOB, OFFER, Bob, Pair, live

BIG = b"v=0 " + b"x" * 1400


class Switching(Pair):
    """Alice reaches Bob over TCP as well; `refused` closes that way."""

    def __init__(self, *, refused: bool = False) -> None:
        super().__init__()
        self.refused = refused
        self.over: list[tuple[str, str]] = []  # transport and start of what Alice sent
        self.alice.switch_by(lambda flow: flow._replace(transport="TCP", connection=0))

    def settle(self) -> None:
        """Deliver by each message's own flow; a refused connection is told of."""
        while fresh := self.collect():
            for sent in fresh:
                if sent.source == ALICE:
                    self.over.append((sent.flow.transport, sent.data[:6].decode()))
                if sent.flow.transport == "TCP" and sent.source == ALICE:
                    self._over_tcp(sent.flow, sent.data)
                else:
                    self._answer(sent.source, sent.flow, sent.data)

    def _over_tcp(self, flow: Flow, data: bytes) -> None:
        if self.refused:
            self.alice.transport_failed(flow, self.now)
            return
        self.bob.receive_stream(data, Flow("TCP", ALICE, BOB, 7), self.now)

    def _answer(self, source: object, flow: Flow, data: bytes) -> None:
        agent: UserAgent = self.bob if source == ALICE else self.alice
        local, remote = (BOB, ALICE) if source == ALICE else (ALICE, BOB)
        if flow.transport == "TCP":
            self.alice.receive_stream(data, Flow("TCP", BOB, ALICE, 7), self.now)
        else:
            agent.receive_datagram(data, Flow("UDP", remote, local), self.now)

    def methods(self, transport: str) -> list[str]:
        return [start.split()[0] for how, start in self.over if how == transport]


@pytest.mark.parametrize("refused", [False, True])
def test_a_large_request_goes_over_tcp_or_after_all_over_udp(refused: bool) -> None:
    """RFC 3261 section 18.1.1: a connection that is refused means UDP again."""
    pair = Switching(refused=refused)
    ours, theirs = pair.call()
    pair.over.clear()
    for _ in range(2):
        number = pair.alice.request("MESSAGE", call=ours, body=BIG, content_type="a/b", now=0.0)
        pair.settle()
        (asked,) = [event for event in pair.events(BOB, "Requested")[-1:] if event.call == theirs]
        assert asked.message.body == BIG
        pair.bob.respond(asked.request, 200, pair.now)
        pair.settle()
        answers = [e for e in pair.events(ALICE) if isinstance(e, Responded)]
        assert (answers[-1].request, answers[-1].status) == (number, 200)
    # The dialog remembers that TCP leads nowhere: no second attempt is lost on it.
    assert pair.methods("TCP") == (["MESSAG"] if refused else ["MESSAG"] * 2)
    assert pair.methods("UDP") == (["MESSAG"] * 2 if refused else [])
    pair.alice.bye(ours, pair.now)
    pair.run(80)
    assert pair.methods("UDP")[-1] == "BYE"
    assert live(pair.alice) == live(pair.bob) == {}


@pytest.mark.parametrize("refused", [False, True])
def test_a_large_reinvite_goes_the_same_ways_and_the_dialog_stays_where_it_was(
    refused: bool,
) -> None:
    """RFC 3261 sections 14.1 and 18.1.1: the Contact still names our UDP address."""
    pair = Switching(refused=refused)
    ours, theirs = pair.call()
    pair.over.clear()
    pair.alice.reinvite(ours, BIG, pair.now)
    pair.settle()
    event = pair.events(BOB, "Reinvited")[-1]
    assert event.request.headers.get("Contact") == "<sip:rtpmix@192.0.2.1:5060>"
    pair.bob.answer_reinvite(theirs, 200, pair.now, OFFER)
    pair.settle()
    answered = [e for e in pair.events(ALICE) if isinstance(e, ReinviteAnswered)]
    assert [e.status for e in answered] == [200]
    assert ("INVITE" in pair.methods("UDP")) is refused
    assert pair.methods("UDP")[-1] == "ACK"
    pair.alice.bye(ours, pair.now)
    pair.run(80)
    assert live(pair.alice) == live(pair.bob) == {}


@pytest.mark.parametrize("refused", [False, True])
def test_a_large_update_falls_back_as_well(refused: bool) -> None:
    pair = Switching(refused=refused)
    for agent in (pair.alice, pair.bob):
        object.__setattr__(agent._core.config, "allow", (*agent._core.config.allow, "UPDATE"))
        agent._core.config.__dict__.pop("methods", None)
        agent._core.capabilities = (("Allow", "INVITE, ACK, BYE, UPDATE"),)
    ours, theirs = pair.call()
    pair.alice.update(ours, pair.now, BIG)
    pair.settle()
    pair.bob.answer_offer(theirs, 200, pair.now, OFFER)
    pair.settle()
    answers = [e for e in pair.events(ALICE) if isinstance(e, OfferAnswered)]
    assert [e.status for e in answers] == [200]


def test_what_fits_stays_with_udp_and_a_gap_in_cseq_is_not_made() -> None:
    pair = Switching()
    ours, _ = pair.call()
    pair.over.clear()
    for size in (10, LARGE - 700):
        pair.alice.request("MESSAGE", call=ours, body=b"x" * size, content_type="a/b", now=0.0)
    pair.alice.request("MESSAGE", call=ours, body=BIG, content_type="a/b", now=0.0)
    pair.settle()
    numbers = [event.message.cseq.number for event in pair.events(BOB, "Requested")]
    assert sorted(numbers) == [2, 3, 4]
    assert pair.methods("TCP") == ["MESSAG"]


def test_a_phone_behind_a_nat_is_not_connected_to() -> None:
    """Its Contact is an address inside (RFC 1918); datagrams go back where it was heard."""
    bob = Bob()
    bob.agent.switch_by(lambda flow: flow._replace(transport="TCP"))
    number, _ = bob.answered(contact="<sip:alice@10.0.0.9:5060>", body=OFFER)
    bob.agent.request("MESSAGE", call=number, body=BIG, content_type="a/b", now=bob.now)
    bob.drain()
    assert bob.sent[-1][1].transport == "UDP"
