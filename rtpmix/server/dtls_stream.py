"""The cipher of a leg whose keys a DTLS handshake makes on its own port.

Until the handshake is done nothing is sent and nothing is heard.  A handshake that begins anew
takes the place of the old one only when the peer has proved to be the one that signalling named: a
stranger's ClientHello changes nothing.

A handshake that is done may be left behind: its keys, and what we sent last for a peer that did not
get it, are all that a stream needs to go on in another process (`DtlsPosition`).

References
----------
RFC 5764 section 5; RFC 7983 (DTLS and SRTP on one port)
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ..rtp.srtp_position import StreamPosition
from .checked_paths import CheckedPath, PathPosition
from .dtls import DtlsTerms, Handshake, is_client_hello
from .srtp_stream import SecureCounts, SrtpStream

MAX_CHECKS = 8  # answered in one beat
MAX_HELD = 8  # of the peer's datagrams, for where the stream goes
POLL = 20  # beats between looks at OpenSSL's clock
ANEW = 100  # beats between two handshakes that a peer begins: each costs a signature
_ASKS_AGAIN = (20, 22)  # change_cipher_spec, handshake: the records of a last flight


@dataclass(frozen=True, slots=True)
class DtlsPosition:
    """A stream on its way to another process.

    Attributes
    ----------
    srtp
        The keys and how far they are used; None: the handshake begins there, or begins anew.
    farewell
        Our last datagrams of the handshake that made them.
    heard
        The peer's datagrams that came while the stream was on its way.
    path
        Where its checks have led.
    """

    terms: DtlsTerms
    srtp: StreamPosition | None
    farewell: tuple[bytes, ...] = field(default=(), repr=False)
    heard: tuple[bytes, ...] = field(default=(), repr=False)
    path: PathPosition = field(default=PathPosition(), repr=False)


class DtlsStream:
    """One leg's handshake, and what it led to."""

    def __init__(self, at: DtlsTerms | DtlsPosition, counts: SecureCounts) -> None:
        self.row: int | None = None
        self.mux = False
        self._answers: list[bytes] = []
        self.terms = at.terms if isinstance(at, DtlsPosition) else at
        self.path = CheckedPath(self.terms.ice, at.path if isinstance(at, DtlsPosition) else None)
        self.cipher: SrtpStream | None = None
        self._counts = counts
        self._handshake: Handshake | None = None  # None: it was made in another process
        self._farewell: tuple[bytes, ...] = ()
        self._fresh: Handshake | None = None  # begun anew by the peer, not proved yet
        self._held: list[bytes] | None = None
        self._beats = 0
        self._began = 0
        if isinstance(at, DtlsPosition) and at.srtp is not None:
            self.cipher, self._farewell = SrtpStream(at.srtp), at.farewell
        else:
            self._handshake = Handshake(self.terms)
        for datagram in at.heard if isinstance(at, DtlsPosition) else ():
            self.receive(datagram)

    def change(self, terms: DtlsTerms) -> None:
        """Take new terms: another certificate or another role is another association.

        ICE that begins anew is none (RFC 8842 section 6): it chooses a path for the same one.
        """
        before, self.terms = self.terms, terms
        if terms == before:
            return
        if replace(terms, ice=None) == replace(before, ice=None):
            self.path.restart(terms.ice)
            return
        self._fresh, self._farewell = None, ()
        self._handshake, self.cipher = Handshake(terms), None
        self.path.renew(terms.ice)

    @property
    def settled(self) -> bool:
        """True while no handshake is under way, which could not go on in another process."""
        first = self._handshake
        if self._fresh is not None:
            return False
        return first is None or first.keys is not None or first.failed or not first.begun

    def hold(self) -> None:
        """Begin nothing more: the stream is about to leave."""
        self._held = []

    def position(self, ssrc: int, following: int) -> DtlsPosition:
        """Return what another stream goes on with; see `SrtpStream.position`.

        Raises
        ------
        SrtpError
            How far the keys are used is not to be found.
        """
        held = tuple(self._held or ())
        path = self.path.position()
        if self.cipher is None:
            return DtlsPosition(self.terms, None, heard=held, path=path)
        made = self._handshake
        farewell = self._farewell if made is None else made.farewell
        return DtlsPosition(self.terms, self.cipher.position(ssrc, following), farewell, held, path)

    def receive(self, datagram: bytes) -> None:
        """Take a DTLS datagram of the peer's."""
        if self._held is not None:
            if len(self._held) < MAX_HELD:
                self._held.append(datagram)
            return
        first = self._handshake
        over = first is None or first.failed or first.keys is not None
        begins = over and not self.terms.is_client and is_client_hello(datagram)
        if begins and self._fresh is None and self._beats - self._began >= ANEW:
            self._began = self._beats
            self._fresh = Handshake(self.terms)
        current = self._fresh or first
        if current is not None:
            current.receive(datagram)
            self._look()
        elif datagram[0] in _ASKS_AGAIN and not begins and not self._answers:
            self._answers += self._farewell

    def check(self, datagram: bytes) -> None:
        """Answer a check of the peer's, if it is one (RFC 8445 section 7.3)."""
        if len(self._answers) >= MAX_CHECKS:
            return
        answer = self.path.check_again(datagram)
        if answer is not None:
            self._answers.append(answer)

    def beat(self) -> list[bytes]:
        """Return the datagrams that are due."""
        answers, self._answers = self._answers, []
        return answers + self._handshake_beat()

    def _handshake_beat(self) -> list[bytes]:
        self._beats += 1
        current = self._fresh or self._handshake
        if self._beats % POLL == 0 and current is not None:
            current.poll()
            self._look()
        if self._fresh is not None and self._beats - self._began > 20 * ANEW:
            self._fresh = None  # it led nowhere
        return [
            datagram
            for handshake in (self._handshake, self._fresh)
            if handshake is not None
            for datagram in handshake.datagrams()
        ]

    def _look(self) -> None:
        """Take the keys of a handshake that is done."""
        fresh = self._fresh
        if fresh is not None and fresh.failed:
            self._fresh = None
            self._counts.handshakes_failed += 1
        elif fresh is not None and fresh.keys is not None:
            self._handshake, self._fresh, self.cipher = fresh, None, None
        first = self._handshake
        if first is None:
            return
        if self.cipher is None and first.keys is not None:
            self.cipher = SrtpStream(first.keys)
            self._counts.handshakes += 1
        elif first.failed and not self._began:
            self._began = max(self._beats - ANEW, 1)  # the next ClientHello may try at once
            self._counts.handshakes_failed += 1
