"""Where a leg's RTP comes from: the signalled address or, behind NAT, a source that was learned.

Theory of operation. A phone behind NAT names an address that only its own network knows. What it
sends arrives from another one, and what is sent there reaches it. So after a session description a
window opens in which sources other than the signalled one are on trial. The first that shows `RUN`
packets in a row as only the stream's own sender would number them, over `SPAN_S` at least and with
none of the source in force between them, is latched: heard, and sent to. Nothing of what was on
trial is heard, nothing is sent to a source on trial, and when the window is over nothing is learned
until the next session description. Whoever calls `Latch.receive` has authenticated the packet
before, where the leg is encrypted.

Only hosts count from which the peer is known to speak: that of its signalling and that of its
session description ("restricted latching"). Who can send from the peer's own public address, as
others behind the same NAT can, may still be first: RFC 7362 section 5 knows no remedy but SRTP.

References
----------
RFC 7362 sections 4 and 5; RFC 4961
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from .packet import HEADER_LENGTH, VERSION
from .sequence import SEQUENCE_MODULUS

Address = tuple[str, int]

RUN = (
    4  # packets in a row that make a source the peer's: 80 ms, none of which is played but the last
)
SPAN_S = 0.05  # that a run takes at least: longer than a stream leaves between two packets
WINDOW_S = 5.0  # from a session description on: the phone may still have to open its microphone
REPORT_WINDOW_S = 20.0  # from a latch on: the first RTCP may take a while (RFC 3550 section 6.2)
STRANGE = 32  # packets of others in a later window: more are no phone that has moved
TRIALS = 8  # sources on trial at a time

# Where a session description's address says nothing about the Internet: RFC 1918, RFC 6598,
# RFC 3927, RFC 4193, RFC 4291 section 2.5.6. `is_private` of ipaddress holds more.
_PRIVATE = tuple(
    ipaddress.ip_network(text)
    for text in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "169.254.0.0/16",
        "fc00::/7",
        "fe80::/10",
    )
)


class State(Enum):
    """Whose packets are heard."""

    SILENT = "silent"  # nobody's: no address was named
    SIGNALLED = "signalled"  # those of the session description's address
    LEARNING = "learning"  # the same; others are on trial
    LATCHED = "latched"  # those of the source that passed
    RELEARNING = "relearning"  # the same; others are on trial


class Input(Enum):
    """What can happen: session descriptions, packets, time."""

    SILENCED = "silenced"  # c=0.0.0.0, port 0
    NAMED = "named"  # an address that is to be believed
    REPEATED = "repeated"  # the one of before, and nothing is to be learned now
    NAMED_AFRESH = "named afresh"  # another address than before, which may be of no use
    REPEATED_AFRESH = "repeated afresh"  # the one of before, which may be of no use
    HEARD = "heard"  # a packet from the address in force
    CONFIRMED = "confirmed"  # and it completes a run
    TRIED = "tried"  # a packet that begins or continues another source's run
    PASSED = "passed"  # and completes it
    FLOODED = "flooded"  # more of others' packets than a phone needs that has moved
    UNFIT = "unfit"  # any other
    WINDOW_ENDED = "window ended"


class Step(NamedTuple):
    """The state after an input, and what is done."""

    state: State
    actions: tuple[str, ...] = ()


S, I = State, Input  # noqa: E741

_ANYWHERE: dict[Input, Step] = {
    I.SILENCED: Step(S.SILENT, ("forget", "close")),
    I.NAMED: Step(S.SIGNALLED, ("forget", "close")),
    I.NAMED_AFRESH: Step(S.LEARNING, ("forget", "open")),
}
# RFC 7362 section 4, step 6: once, until a new offer and answer. What is not listed is refused.
LATCHING: dict[tuple[State, Input], Step] = {
    **{(state, what): step for state in S for what, step in _ANYWHERE.items()},
    (S.SIGNALLED, I.REPEATED): Step(S.SIGNALLED),
    (S.SIGNALLED, I.REPEATED_AFRESH): Step(S.LEARNING, ("open",)),
    (S.SIGNALLED, I.HEARD): Step(S.SIGNALLED, ("hear",)),
    (S.LEARNING, I.REPEATED): Step(S.SIGNALLED, ("close",)),
    (S.LEARNING, I.REPEATED_AFRESH): Step(S.LEARNING, ("open",)),
    (S.LEARNING, I.HEARD): Step(S.LEARNING, ("hear",)),
    (S.LEARNING, I.CONFIRMED): Step(S.SIGNALLED, ("hear", "close")),
    (S.LEARNING, I.TRIED): Step(S.LEARNING, ("refuse",)),
    (S.LEARNING, I.PASSED): Step(S.LATCHED, ("latch", "hear", "close")),
    (S.LEARNING, I.WINDOW_ENDED): Step(S.SIGNALLED, ("close",)),
    (S.LATCHED, I.REPEATED): Step(S.LATCHED),
    (S.LATCHED, I.REPEATED_AFRESH): Step(S.RELEARNING, ("open",)),
    (S.LATCHED, I.HEARD): Step(S.LATCHED, ("hear",)),
    (S.RELEARNING, I.REPEATED): Step(S.LATCHED, ("close",)),
    (S.RELEARNING, I.REPEATED_AFRESH): Step(S.RELEARNING, ("open",)),
    (S.RELEARNING, I.HEARD): Step(S.RELEARNING, ("hear",)),
    (S.RELEARNING, I.CONFIRMED): Step(S.LATCHED, ("hear", "close")),
    (S.RELEARNING, I.TRIED): Step(S.RELEARNING, ("refuse",)),
    (S.RELEARNING, I.PASSED): Step(S.LATCHED, ("latch", "hear", "close")),
    (S.RELEARNING, I.FLOODED): Step(S.LATCHED, ("refuse", "close")),
    (S.RELEARNING, I.WINDOW_ENDED): Step(S.LATCHED, ("close",)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a source must show to be taken for the peer.

    Parameters
    ----------
    hosts
        It sends from one of these.
    payload_types
        Of the packets, as agreed.
    own_ssrc
        Ours: what carries it was sent by us and came back (RFC 3550 section 8.2).
    opens
        False: nothing is to be learned now, as the peer is not to send.
    """

    hosts: frozenset[str]
    payload_types: frozenset[int]
    own_ssrc: int
    opens: bool = True


@dataclass(slots=True)
class _Trial:
    ssrc: int
    sequence: int
    began: float
    run: int = 1


def is_behind_nat(media_host: str, signalling_host: str) -> bool:
    """Tell whether a session description names an address that its sender can't be reached at.

    A private one, sent by somebody who is elsewhere. A public one is believed, wherever signalling
    comes from: gateways have media and signalling apart.
    """
    try:
        media, signalling = (ipaddress.ip_address(each) for each in (media_host, signalling_host))
    except ValueError:
        return False
    private = any(media.version == net.version and media in net for net in _PRIVATE)
    return private and media != signalling


class Latch:
    """Where the RTP of one leg comes from and goes to.

    Attributes
    ----------
    state : State
    remote : (host, port) or None
        The address in force.
    ssrc : int or None
        Of the run that was latched or confirmed.
    closes_at : float or None
        When the window ends; None while none is open.
    """

    __slots__ = (
        "_signalled",
        "_strange",
        "_terms",
        "_trials",
        "closes_at",
        "remote",
        "ssrc",
        "state",
    )

    def __init__(self) -> None:
        self.state = State.SILENT
        self.remote: Address | None = None
        self.ssrc: int | None = None
        self.closes_at: float | None = None
        self._signalled: Address | None = None
        self._terms: Terms | None = None
        self._strange = 0  # packets of others in this window
        self._trials: dict[Address, _Trial] = {}

    @property
    def learned(self) -> bool:
        """True where the address in force is not the signalled one."""
        return self.state in (State.LATCHED, State.RELEARNING)

    @property
    def tried(self) -> int:
        """How many sources are on trial; at most `TRIALS`."""
        return len(self._trials)

    def signalled(self, remote: Address | None, terms: Terms | None, now: float) -> None:
        """Take the address of a session description.

        Parameters
        ----------
        remote
            None: nothing is sent, nothing is heard.
        terms
            On which another source may take its place; None: on none.
        now
            Seconds.
        """
        again = remote == self._signalled
        self._signalled, self._terms = remote, terms
        if remote is None:
            what = Input.SILENCED
        elif terms is None:
            what = Input.NAMED
        elif terms.opens:
            what = Input.REPEATED_AFRESH if again else Input.NAMED_AFRESH
        else:
            what = Input.REPEATED if again else Input.NAMED
        self._step(what, now)

    def resume(self, learned: Address) -> None:
        """Go on with a source that was latched elsewhere, for this very session description."""
        self.state, self.remote, self.closes_at = State.LATCHED, learned, None

    def receive(self, packet: bytes | memoryview, source: Address, now: float) -> bool:
        """Take an RTP packet; True when it is to be heard. Never raises, whatever it holds."""
        return "hear" in self._step(self._judge(packet, source, now), now, source)

    def expire(self, now: float) -> bool:
        """Tell the time; True when that ends the window."""
        if self.closes_at is None or now < self.closes_at:
            return False
        self._step(Input.WINDOW_ENDED, now)
        return True

    def is_peers_report(self, packet: bytes | memoryview, source: Address) -> bool:
        """Tell whether RTCP comes from the latched host and names the latched stream as its sender.

        References
        ----------
        RFC 3550 sections 6.4.1 and 6.4.2
        """
        if self.remote is None or self.ssrc is None or source[0] != self.remote[0]:
            return False
        if len(packet) < 8 or packet[0] >> 6 != VERSION or packet[1] not in (200, 201):
            return False
        return int.from_bytes(packet[4:8], "big") == self.ssrc

    # ------------------------------------------------------------------------------ inside

    def _step(self, what: Input, now: float, source: Address | None = None) -> tuple[str, ...]:
        step = LATCHING.get((self.state, what))
        if step is None:
            return ()
        self.state = step.state
        for action in step.actions:
            if action == "open":
                self.closes_at, self._strange = now + WINDOW_S, 0
            elif action == "close":
                self.closes_at = None
                self._trials.clear()
            elif action == "forget":
                self.remote, self.ssrc = self._signalled, None
                self._trials.clear()
            elif action == "latch":
                self.remote = source
        return step.actions

    def _judge(self, packet: bytes | memoryview, source: Address, now: float) -> Input:
        current = source == self.remote
        terms = self._terms
        if self.closes_at is None or terms is None:
            return Input.HEARD if current else Input.UNFIT
        if not current and source[0] not in terms.hosts:
            return Input.UNFIT
        if not current and self.state is State.RELEARNING:
            # A flood could crowd out the source in force, and then pass for it.
            self._strange += 1
            if self._strange > STRANGE:
                return Input.FLOODED
        header = _header(packet)
        if header is None or header[0] not in terms.payload_types or header[2] == terms.own_ssrc:
            self._trials.pop(source, None)
            return Input.HEARD if current else Input.UNFIT
        if current:  # no other has a run while the source in force goes on
            self._trials = {each: self._trials[each] for each in self._trials if each == source}
        trial = self._try(source, header[2], header[1], now)
        if trial.run < RUN or now - trial.began < SPAN_S:
            return Input.HEARD if current else Input.TRIED
        self.ssrc = header[2]
        return Input.CONFIRMED if current else Input.PASSED

    def _try(self, source: Address, ssrc: int, sequence: int, now: float) -> _Trial:
        """Note a packet of a source on trial; return its run."""
        trial = self._trials.get(source)
        if trial is None:
            if len(self._trials) == TRIALS:
                # The least convincing goes: a flood of sources can't push out one that goes on.
                del self._trials[min(self._trials, key=lambda each: self._trials[each].run)]
            trial = self._trials[source] = _Trial(ssrc, sequence, now)
            return trial
        follows = sequence == (trial.sequence + 1) % SEQUENCE_MODULUS
        if follows and ssrc == trial.ssrc:
            trial.run += 1
        else:
            trial.run, trial.began = 1, now
        trial.ssrc, trial.sequence = ssrc, sequence
        return trial


def _header(packet: bytes | memoryview) -> tuple[int, int, int] | None:
    """Return payload type, sequence number and SSRC; None for what is no RTP with a payload."""
    if len(packet) <= HEADER_LENGTH or packet[0] >> 6 != VERSION:
        return None
    sequence, ssrc = int.from_bytes(packet[2:4], "big"), int.from_bytes(packet[8:12], "big")
    return packet[1] & 0x7F, sequence, ssrc
