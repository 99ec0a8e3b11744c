"""Where a peer with ICE is: not where its session description says, but whence its checks come.

Theory of operation. A browser behind NAT names addresses that nobody else can reach, or none. Its
checks arrive from where it can be reached, and prove by an HMAC under the password that only the
session descriptions hold who sent them. So the checks of strangers are looked at, and nothing else
of theirs. One that authenticates is answered, wherever it comes from; one that nominates besides
moves the leg there: its socket is connected to that address, where the DTLS handshake is made and
media goes on. We are a lite agent, begin no check, and so take what the peer nominated last.

A check proves who wrote it, not who sent it: an eavesdropper may send it again from elsewhere. The
transactions of the last nominations are remembered, and one that comes again from another address
moves nothing.

A peer that begins ICE anew has new credentials of ours. Media goes on where it goes until the peer
nominates under them; meanwhile its checks there under the former ones are answered, for it asks by
them whether we still want what it sends.

References
----------
RFC 8445 sections 7.3 and 7.3.2 (checks that a lite agent receives), 8.2 (what is nominated), 9 and
12.1 (ICE anew, and where media goes meanwhile) and 19.2 (attacks on checks); RFC 7675 section 5.1
(consent)
"""

from __future__ import annotations

from dataclasses import dataclass

from ..rtp.stun import Check
from ..sdp.ice import IceCredentials

Address = tuple[str, int]

PROOFS_PER_S = 50.0  # HMACs for strangers: of a peer that tries all its interfaces, a second's
MOVE_S = 1.0  # between two moves: a peer that nominates several paths at once settles meanwhile
REMEMBERED = 256  # nominations: browsers repeat theirs every second or two, so some minutes


@dataclass(slots=True)
class CheckCounts:
    """What became of checks that came from elsewhere than media did."""

    listening: int = 0  # legs that hear them now
    accepted: int = 0
    refused: int = 0  # not well formed, not for this leg, or under another password
    replayed: int = 0  # a nomination that had come before from another address
    unread: int = 0  # more than are looked at in a second
    moved: int = 0  # legs whose media goes elsewhere since
    strangers: int = 0  # datagrams from elsewhere that were no checks
    deaf: int = 0  # legs that hear their signalled peer alone, as there was no socket left

    def as_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class PathPosition:
    """What is known of a path, on its way to another process."""

    chosen: Address | None = None
    nominations: tuple[tuple[bytes, Address], ...] = ()
    former: IceCredentials | None = None


class CheckedPath:
    """The path to one peer.

    Parameters
    ----------
    ice
        Ours; None: there are no checks, and what was signalled is all that is known.

    Attributes
    ----------
    signalled
        Where the session description says that the peer is.
    open
        Strangers are heard, so the path may change.
    """

    def __init__(self, ice: IceCredentials | None, at: PathPosition | None = None) -> None:
        at = at or PathPosition()
        self.ice = ice
        self.signalled: Address | None = None
        self.open = False
        self._former = at.former  # while the peer has not nominated under those that it has now
        self._chosen = at.chosen
        self._wanted: Address | None = None
        self._nominations = dict(at.nominations)
        self._moved_at = -MOVE_S
        self._proofs = PROOFS_PER_S
        self._counted_at = 0.0

    @property
    def remote(self) -> Address | None:
        """Where media goes, and whence it is heard."""
        return (self._chosen if self.open else None) or self.signalled

    @property
    def pending(self) -> bool:
        """True while a nomination waits for its time."""
        return self._wanted is not None

    def position(self) -> PathPosition:
        """Return what another process goes on with."""
        return PathPosition(self._chosen, tuple(self._nominations.items()), self._former)

    def renew(self, ice: IceCredentials | None) -> None:
        """Begin anew with what was signalled: another peer, or another association."""
        self.ice, self._former, self._chosen, self._wanted = ice, None, None, None

    def restart(self, ice: IceCredentials | None) -> None:
        """Begin ICE anew with the same peer; None: it gives ICE up."""
        # After two of them in a row the pair in use is still that of the first credentials.
        self._former = (self._former or self.ice) if ice is not None else None
        self.ice = ice

    def check(
        self, datagram: bytes, source: Address, now: float, counts: CheckCounts
    ) -> bytes | None:
        """Take what may be a check from an address that media does not come from.

        Returns
        -------
        bytes or None
            The answer, for that address. None: it deserves none.
        """
        found = Check.read(datagram, self.ice.ufrag) if self.ice is not None else None
        if self.ice is None or found is None:
            counts.refused += 1
        elif not self._affords(now):
            counts.unread += 1
        elif not found.authenticates(self.ice.password):
            counts.refused += 1
        elif not self._nominated(found, source):
            counts.replayed += 1
        else:
            counts.accepted += 1
            return found.answer(self.ice.password, source)
        return None

    def check_again(self, datagram: bytes) -> bytes | None:
        """Answer a check that came where media comes from; None where it deserves no answer."""
        for ice in (self.ice, self._former):
            found = Check.read(datagram, ice.ufrag) if ice is not None else None
            if ice is None or found is None or self.remote is None:
                continue
            if not found.authenticates(ice.password):
                return None
            if ice is self.ice and not self._nominated(found, self.remote):
                return None
            return found.answer(ice.password, self.remote)
        return None

    def move(self, now: float) -> Address | None:
        """Go where the peer wants; return that, if it is time to and another place than before."""
        wanted = self._wanted
        if wanted is None or now - self._moved_at < MOVE_S:
            return None
        before, self._wanted = self.remote, None
        self._chosen = wanted
        if wanted == before:
            return None
        self._moved_at = now
        return wanted

    def _nominated(self, found: Check, source: Address) -> bool:
        """Note what an authentic check nominates; False when it is an old one from elsewhere."""
        if self._nominations.get(found.transaction, source) != source:
            return False
        if found.nominates:
            self._former = None
        if found.nominates and self.open:
            self._nominations.setdefault(found.transaction, source)
            if len(self._nominations) > REMEMBERED:
                del self._nominations[next(iter(self._nominations))]
            if source == self.remote:
                self._chosen, self._wanted = source, None
            else:
                self._wanted = source
        return True

    def _affords(self, now: float) -> bool:
        """Tell whether one HMAC more may be spent on strangers."""
        gained = (now - self._counted_at) * PROOFS_PER_S
        self._proofs, self._counted_at = min(self._proofs + gained, PROOFS_PER_S), now
        if self._proofs < 1.0:
            return False
        self._proofs -= 1.0
        return True
