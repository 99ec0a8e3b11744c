"""Who hears whom in a supervised conversation: one table, and how several supervisors combine.

Everything here is a pure function of the parties.  The mixer applies the result without knowing
what it means; which user may supervise whom is the embedding program's decision.

A pair that the table leaves closed has gain 0, which the mixer treats as *absent from the sum*:
no sample of a closed talker can reach a listener, however loud.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter

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

    Written apart from `gains_for` on purpose: the two share no rule and no code, only the roles.
    That says of each pair whether it is open; this has sets of talkers whom a listener never hears.

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
    never = _Never(parties)
    for place, (listener, row) in enumerate(zip(parties, gains, strict=True)):
        if row and (min(row) < 0 or max(row) > LOUDEST):
            raise UsageError(f"a gain of {min(row)} or {max(row)} is outside 0 to {LOUDEST} (Q15)")
        heard = _set_of(map(bool, row))
        for talkers, why in never.heard_by(place, listener):
            if heard & talkers:
                first = ((heard & talkers) & -(heard & talkers)).bit_length() // 8
                raise UsageError(
                    f"seat {listener.seat} must not hear seat {parties[first].seat}: {why}"
                )


def _set_of(members: Iterable[bool]) -> int:
    """Return a set of places as a number, an octet for each: what is in two of them is their AND.

    A bridge of two hundred has forty thousand pairs, and is checked each time that somebody comes.
    """
    return int.from_bytes(bytes(members), "little")


class _Never:
    """Sets of talkers whom some listeners never hear."""

    def __init__(self, parties: Sequence[Party]) -> None:
        prompts = [each.role is Role.PROMPT for each in parties]
        out = [each.fate if each.role is not Role.PROMPT else None for each in parties]
        self._all = _set_of([True] * len(parties))
        self._receive_only = _set_of([not each.can_talk for each in parties])
        self._muted = _set_of([each.muted for each in parties])
        self._people = _set_of([not prompt for prompt in prompts])
        self._prompts = [
            (each.to, 1 << 8 * place)
            for place, each in enumerate(parties)
            if prompts[place] and each.to is not None
        ]
        self._leaving = _set_of([fate is Fate.LEAVE for fate in out])
        self._taken_over = _set_of([fate is not None for fate in out])
        self._monitors = _set_of([each.mode is Mode.MONITOR for each in parties])
        self._whisperers = _set_of([each.mode is Mode.WHISPER for each in parties])

    def heard_by(self, place: int, listener: Party) -> Iterator[tuple[int, str]]:
        """Yield whom a listener must not hear, and why."""
        yield 1 << 8 * place, "nobody hears themselves"
        yield self._receive_only, "the talker's leg is receive-only"
        yield self._muted, "the talker is muted"
        if listener.role is Role.PROMPT:
            yield self._all, "a source does not listen"
        for to, prompt in self._prompts:
            if listener.seat not in to:
                yield prompt, "the prompt is for others"
        out = self._people if listener.fate is Fate.LEAVE else self._leaving
        yield out, "an agent who is leaving is out of the conversation"
        if listener.role is Role.CUSTOMER:
            private = self._monitors | self._whisperers
            yield private, "customers never hear a supervisor who monitors or whispers"
            yield self._taken_over, "the agent's call was taken over"
        elif listener.role is Role.AGENT:
            yield self._monitors, "agents never hear a supervisor who monitors"
