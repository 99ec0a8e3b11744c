"""Who hears whom in a supervised conversation: one table, and how several supervisors combine.

Everything here is a pure function of the parties.  The mixer applies the result without knowing
what it means; which user may supervise whom is the embedding program's decision.

A pair that the table leaves closed has gain 0, which the mixer treats as *absent from the sum*:
no sample of a closed talker can reach a listener, however loud.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import compress
from operator import and_, attrgetter

from ..errors import UsageError

UNITY = 32768  # Q15: 1.0
LOUDEST = 4 * UNITY  # +12 dB, the most that a level may amplify


class Role(enum.Enum):
    """What somebody is in the conversation, whatever leg they are on."""

    CUSTOMER = "customer"
    AGENT = "agent"
    SUPERVISOR = "supervisor"
    PROMPT = "prompt"  # a source: it speaks to the seats it was given and hears nobody


class Mode(enum.Enum):
    """What a supervisor does."""

    MONITOR = "monitor"  # hears everybody, is heard by no customer and no agent
    WHISPER = "whisper"  # the agent alone hears the supervisor
    BARGE = "barge"  # everybody hears the supervisor
    TAKEOVER = "takeover"  # the supervisor speaks in the agent's place


class Fate(enum.Enum):
    """What becomes of an agent whose call a supervisor takes over."""

    LEAVE = "leave"  # hears a goodbye prompt and nothing else, then is hung up
    LISTEN = "listen"  # hears the call, is heard by nobody
    CONSULT = "consult"  # talks with the supervisor who took over, and with nobody else


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """Somebody in the conversation.

    Parameters
    ----------
    seat
        The row and column in the bridge.
    mode
        A supervisor's mode; None for everybody else.
    can_talk
        False for a leg that was negotiated receive-only.
    held
        On hold: hears prompts only, and only supervisors hear it.
    fate
        Set on an agent while a supervisor has the call.
    to
        For a prompt: the seats that hear it, None for everybody.
    muted
        Nobody hears it.
    """

    seat: int
    role: Role
    mode: Mode | None = None
    can_talk: bool = True
    held: bool = False
    fate: Fate | None = None
    to: frozenset[int] | None = None
    muted: bool = False

    def __post_init__(self) -> None:
        if (self.mode is not None) != (self.role is Role.SUPERVISOR):
            raise UsageError(
                f"seat {self.seat} is a {self.role.value} with mode {self.mode}: "
                "supervisors have a mode, nobody else does"
            )


C, A, V = Role.CUSTOMER, Role.AGENT, Role.SUPERVISOR
Audible = Mapping[Role, frozenset[Role]]

#: For each mode: listener -> the talkers that this listener hears.  Equals hear each other: two
#: customers, two agents, two supervisors.  Under TAKEOVER no row names the agent, who listens.
AUDIBLE: Mapping[Mode, Audible] = {
    Mode.MONITOR: {C: frozenset({C, A}), A: frozenset({A, C}), V: frozenset({V, C, A})},
    Mode.WHISPER: {C: frozenset({C, A}), A: frozenset({A, C, V}), V: frozenset({V, C, A})},
    Mode.BARGE: {C: frozenset({C, A, V}), A: frozenset({A, C, V}), V: frozenset({V, C, A})},
    Mode.TAKEOVER: {C: frozenset({C, V}), A: frozenset({C, V}), V: frozenset({V, C})},
}
UNSUPERVISED: Audible = AUDIBLE[Mode.MONITOR]  # a monitor changes nothing for the others

#: Modes in which customers hear the supervisor.
ADDRESSES_CUSTOMER = frozenset(mode for mode, rows in AUDIBLE.items() if V in rows[C])
PRIVATE = frozenset(Mode) - ADDRESSES_CUSTOMER

Gains = tuple[tuple[int, ...], ...]
Dtmf = tuple[tuple[bool, ...], ...]


def hears(listener: Party, talker: Party, modes: Collection[Mode]) -> bool:
    """Say whether one party hears another.

    Parameters
    ----------
    modes
        The modes of all supervisors in the conversation.

    Notes
    -----
    Several supervisors combine by two rules.  A supervisor is heard as that supervisor's own mode
    says.  Everybody else is heard where *every* mode in force agrees, so that one takeover
    silences the agent for all.
    """
    return listener.seat != talker.seat and _hears_other(listener, talker, modes)


def _hears_other(listener: Party, talker: Party, modes: Collection[Mode]) -> bool:
    """Say whether a party hears one in another seat."""
    if not talker.can_talk or listener.role is Role.PROMPT:
        return False
    if talker.muted:
        return False
    if talker.role is Role.PROMPT:
        return talker.to is None or listener.seat in talker.to
    if Fate.LEAVE in (listener.fate, talker.fate) or listener.held:
        return False
    if talker.held and listener.role is not Role.SUPERVISOR:
        return False
    if Fate.CONSULT in (listener.fate, talker.fate):
        return Mode.TAKEOVER in (listener.mode, talker.mode)
    if talker.mode is not None:
        return talker.role in AUDIBLE[talker.mode][listener.role]
    if not modes:
        return talker.role in UNSUPERVISED[listener.role]
    return all(talker.role in AUDIBLE[mode][listener.role] for mode in modes)


# All of a party but the seat; taken from the class, so that nothing that is added is left out.
_kind = attrgetter(*(each.name for each in fields(Party) if each.name != "seat"))


def _rows_of(parties: Sequence[Party], opens: Callable[[Party, Party], bool]) -> list[list[bool]]:
    """Return the pairs that are open, rows listen, columns talk; nobody hears themselves.

    Asked once for all parties that differ in nothing but their seat: a room of two hundred has
    forty thousand pairs and hardly ever more than three kinds of party.

    Parameters
    ----------
    opens
        (listener, talker) -> whether that pair is open, for two different seats.
    """
    numbers: dict[object, int] = {}
    kinds = [numbers.setdefault(_kind(party), len(numbers)) for party in parties]
    addressed = [place for place, party in enumerate(parties) if party.to is not None]
    rows: dict[int, list[bool]] = {}
    result: list[list[bool]] = []
    for place, (listener, kind) in enumerate(zip(parties, kinds, strict=True)):
        row = rows.get(kind)
        if row is None:
            known: dict[int, bool] = {}
            for talker, other in zip(parties, kinds, strict=True):
                if other not in known and talker is not listener:
                    known[other] = opens(listener, talker)
            row = rows[kind] = [known.get(other, False) for other in kinds]
        row = row[:]
        row[place] = False
        for one in addressed:
            row[one] = one != place and opens(listener, parties[one])
        result.append(row)
    return result


def _modes(parties: Sequence[Party]) -> frozenset[Mode]:
    return frozenset(party.mode for party in parties if party.mode is not None)


def gains_for(
    parties: Sequence[Party], levels: Mapping[tuple[int, int], int] | None = None
) -> Gains:
    """Return the gain matrix of a conversation.

    Parameters
    ----------
    parties
        In seat order; a role may be filled several times.
    levels
        ``(listener seat, talker seat)`` -> Q15 gain where it is not 1.0.  A level applies to a
        pair that is open; it can't open one.

    Returns
    -------
    tuple of len(parties) tuples of len(parties) int
        Q15 gains (32768 is 1.0); rows listen, columns talk, diagonal zero.
    """
    modes = _modes(parties)
    rows = _rows_of(parties, lambda listener, talker: _hears_other(listener, talker, modes))
    gains = [[UNITY if heard else 0 for heard in row] for row in rows]
    if levels:
        places = {party.seat: place for place, party in enumerate(parties)}
        for (listener, talker), gain in levels.items():
            if listener in places and talker in places and rows[places[listener]][places[talker]]:
                gains[places[listener]][places[talker]] = gain
    return tuple(map(tuple, gains))


def dtmf_for(parties: Sequence[Party]) -> Dtmf:
    """Return whose RFC 4733 digits are forwarded to whom; rows receive, columns press.

    Digits follow the audio between customers and agents, and reach a supervisor who has taken the
    call over from the customer.  A supervisor's own digits are commands to this server: they are
    consumed in every mode and forwarded to nobody.
    """
    modes = _modes(parties)

    def forwards(listener: Party, talker: Party) -> bool:
        asks = listener.role in (C, A) or listener.mode is Mode.TAKEOVER
        return talker.role in (C, A) and asks and _hears_other(listener, talker, modes)

    return tuple(map(tuple, _rows_of(parties, forwards)))


def validate(parties: Sequence[Party], gains: Gains) -> None:
    """Check a matrix against what may never happen, before it is committed.

    Written apart from `gains_for` on purpose: the two share no rule, only the roles.

    Raises
    ------
    UsageError
        The matrix is not square, hears itself, or lets through somebody who must stay private.
    """
    if len(gains) != len(parties) or any(len(row) != len(parties) for row in gains):
        raise UsageError(f"a matrix for {len(parties)} parties needs as many rows and columns")
    if len({party.seat for party in parties}) != len(parties):
        raise UsageError("a seat is listed twice: each party needs a seat of its own")
    if sum(party.mode is Mode.TAKEOVER for party in parties) > 1:
        raise UsageError("two supervisors hold the call: only one can have taken it over")
    shut = _rows_of(parties, lambda listener, talker: _forbidden(listener, talker) is not None)
    for place, (listener, row) in enumerate(zip(parties, gains, strict=True)):
        if row and (min(row) < 0 or max(row) > LOUDEST):
            raise UsageError(f"a gain of {min(row)} or {max(row)} is outside 0 to {LOUDEST} (Q15)")
        shut[place][place] = True
        for other in compress(range(len(row)), map(and_, shut[place], map(bool, row))):
            why = _forbidden(listener, parties[other])
            raise UsageError(
                f"seat {listener.seat} must not hear seat {parties[other].seat}: {why}"
            )


def _forbidden(listener: Party, talker: Party) -> str | None:
    """Say why this pair may never be open, if so."""
    if listener.seat == talker.seat:
        return "nobody hears themselves"
    if not talker.can_talk:
        return "the talker's leg is receive-only"
    if talker.muted:
        return "the talker is muted"
    if listener.role is Role.PROMPT:
        return "a source does not listen"
    if talker.role is Role.PROMPT:
        addressed = talker.to is None or listener.seat in talker.to
        return None if addressed else "the prompt is for others"
    if Fate.LEAVE in (listener.fate, talker.fate):
        return "an agent who is leaving is out of the conversation"
    if listener.role is Role.CUSTOMER and talker.role is Role.SUPERVISOR:
        private = talker.mode in (Mode.MONITOR, Mode.WHISPER)
        return "customers never hear a supervisor who monitors or whispers" if private else None
    if listener.role is Role.AGENT and talker.mode is Mode.MONITOR:
        return "agents never hear a supervisor who monitors"
    if listener.role is Role.CUSTOMER and talker.fate is not None:
        return "the agent's call was taken over"
    return None
