"""The cipher of a leg whose keys a DTLS handshake makes on its own port.

Until the handshake is done nothing is sent and nothing is heard.  A handshake that begins anew
takes the place of the old one only when the peer has proved to be the one that signalling named: a
stranger's ClientHello changes nothing.

References
----------
RFC 5764 section 5; RFC 7983 (DTLS and SRTP on one port)
"""

from __future__ import annotations

from ..rtp.stun import answer_check
from .dtls import DtlsTerms, Handshake, is_client_hello
from .media_io import Address
from .srtp_stream import SecureCounts, SrtpStream

MAX_CHECKS = 8  # answered in one beat
POLL = 20  # beats between looks at OpenSSL's clock
ANEW = 100  # beats between two handshakes that a peer begins: each costs a signature


class DtlsStream:
    """One leg's handshake, and what it led to."""

    def __init__(self, terms: DtlsTerms, counts: SecureCounts) -> None:
        self.row: int | None = None
        self.mux = False
        self.remote: Address | None = None
        self._answers: list[bytes] = []
        self.terms = terms
        self.cipher: SrtpStream | None = None
        self._counts = counts
        self._handshake = Handshake(terms)
        self._fresh: Handshake | None = None  # begun anew by the peer, not proved yet
        self._beats = 0
        self._began = 0

    def change(self, terms: DtlsTerms) -> None:
        """Take new terms: another certificate or another role is another association."""
        if terms != self.terms:
            self.terms, self._fresh = terms, None
            self._handshake, self.cipher = Handshake(terms), None

    def receive(self, datagram: bytes) -> None:
        """Take a DTLS datagram of the peer's."""
        over = self._handshake.failed or self._handshake.keys is not None
        begins = over and not self.terms.is_client and is_client_hello(datagram)
        if begins and self._fresh is None and self._beats - self._began >= ANEW:
            self._began = self._beats
            self._fresh = Handshake(self.terms)
        (self._fresh or self._handshake).receive(datagram)
        self._look()

    def check(self, datagram: bytes) -> None:
        """Answer a check of the peer's, if it is one (RFC 8445 section 7.3)."""
        ice, remote = self.terms.ice, self.remote
        if ice is None or remote is None or len(self._answers) >= MAX_CHECKS:
            return
        answer = answer_check(datagram, ice.ufrag, ice.password, remote)
        if answer is not None:
            self._answers.append(answer)

    def beat(self) -> list[bytes]:
        """Return the datagrams that are due."""
        answers, self._answers = self._answers, []
        return answers + self._handshake_beat()

    def _handshake_beat(self) -> list[bytes]:
        self._beats += 1
        current = self._fresh or self._handshake
        if self._beats % POLL == 0:
            current.poll()
            self._look()
        if self._fresh is not None and self._beats - self._began > 20 * ANEW:
            self._fresh = None  # it led nowhere
        return current.datagrams() if current is self._handshake else self._both()

    def _both(self) -> list[bytes]:
        fresh = self._fresh.datagrams() if self._fresh is not None else []
        return [*self._handshake.datagrams(), *fresh]

    def _look(self) -> None:
        """Take the keys of a handshake that is done."""
        fresh = self._fresh
        if fresh is not None and fresh.failed:
            self._fresh = None
            self._counts.handshakes_failed += 1
        elif fresh is not None and fresh.keys is not None:
            self._handshake, self._fresh, self.cipher = fresh, None, None
        keys = self._handshake.keys
        if self.cipher is None and keys is not None:
            self.cipher = SrtpStream(keys)
            self._counts.handshakes += 1
        elif self._handshake.failed and not self._began:
            self._began = max(self._beats - ANEW, 1)  # the next ClientHello may try at once
            self._counts.handshakes_failed += 1
