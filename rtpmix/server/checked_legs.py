"""The legs of one host whose peers say by checks where they are, over the network that hears them.

What decides is `rtpmix.server.checked_paths`; here the network is asked and told, beat by beat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .checked_paths import CheckCounts, CheckedPath
from .media_io import Address, CheckingIO


@dataclass(frozen=True, slots=True)
class PathMoved:
    """A leg's peer is elsewhere than before."""

    leg: int
    remote: Address
    signalled: Address | None


class CheckedLegs:
    """Those legs.

    Parameters
    ----------
    network
        Hears strangers' checks, and sends the answers.
    """

    def __init__(self, network: CheckingIO) -> None:
        self.counts = CheckCounts()
        self._network = network
        self._paths: dict[int, CheckedPath] = {}
        self._pending: dict[int, CheckedPath] = {}  # want to move, and may not yet

    def connect(
        self, leg: int, path: CheckedPath, remote: Address | None, *, mux: bool
    ) -> Address | None:
        """Take where a leg's session description says that its peer is; return where it is.

        Parameters
        ----------
        mux
            RTP and RTCP have one port. Else checks move nothing: ours name one component.
        """
        path.signalled = remote
        path.open = mux and path.ice is not None
        if path.open:
            self._paths[leg] = path
            self._network.expect_checks(leg, True)
        else:
            self.forget(leg)
        self.counts.listening = len(self._paths)
        return path.remote

    def forget(self, leg: int) -> None:
        """Expect no checks; a leg of another kind is no error."""
        self._pending.pop(leg, None)
        if self._paths.pop(leg, None) is not None:
            self._network.expect_checks(leg, False)
            self.counts.listening = len(self._paths)

    def beat(self, now: float) -> Sequence[PathMoved]:
        """Take the checks that came, answer them, and go where they lead; return who has moved."""
        if not self._paths:
            return ()
        strangers, deaf = self._network.take_strays()
        self.counts.strangers += strangers
        self.counts.deaf += deaf
        for leg, datagram, source in self._network.take_checks():
            path = self._paths.get(leg)
            if path is None:
                continue
            answer = path.check(datagram, source, now, self.counts)
            if answer is not None:
                self._network.answer_check(leg, answer, source)
            if path.pending:
                self._pending[leg] = path
        moved = []
        for leg, path in tuple(self._pending.items()):
            remote = path.move(now)
            if remote is not None:
                self._network.connect(leg, remote, remote, True)
                moved.append(PathMoved(leg, remote, path.signalled))
            if not path.pending:
                del self._pending[leg]
        self.counts.moved += len(moved)
        return moved
