"""What comes in on shared ports in a beat: one call a port, and told apart by where it comes from.

The inbox takes one datagram a leg and kind at a time; what else came of a leg waits here. All that
was read is looked at together: a numpy call for one port costs as much as one for all of them.
"""

from __future__ import annotations

import select
from collections import deque
from itertools import islice, repeat
from math import nan

from ..mixer.boxes import Inbox
from . import mmsg

WAITING = 16  # datagrams of one leg that wait for the next reads: what a stall of 0.3 s leaves


class Arriving:
    """Reads shared sockets.

    Attributes
    ----------
    unknown
        Datagrams of sources that no leg has.
    overrun
        Datagrams of a leg that sent too many at a time.
    """

    def __init__(self) -> None:
        self._readers: dict[int, dict[int, int]] = {}  # descriptor -> the codes of its sources
        self._waiting: dict[int, deque[bytes]] = {}  # by code: more than one came at a time
        self._epoll = select.epoll()
        self._arrivals: tuple[Inbox, mmsg.Arrivals] | None = None
        self.unknown = 0
        self.overrun = 0

    def listen(self, descriptor: int, codes: dict[int, int]) -> None:
        """Read a socket; ``codes`` has the inbox codes of its sources (`mmsg.key_of`), live."""
        self._readers[descriptor] = codes
        self._epoll.register(descriptor, select.EPOLLIN)

    def leave(self, descriptor: int) -> None:
        """Read a socket no more: it is about to be closed."""
        self._epoll.unregister(descriptor)
        del self._readers[descriptor]

    def forget(self, row: int) -> None:
        """Throw away what waits for a leg's row."""
        for code in (2 * row, 2 * row + 1):
            self._waiting.pop(code, None)

    def close(self) -> None:
        """Read nothing any more."""
        self._epoll.close()

    @property
    def some_wait(self) -> bool:
        """True while datagrams that were read have not come into an inbox."""
        return bool(self._waiting)

    def receive(self, inbox: Inbox) -> int:
        """Read what waits, at most one datagram a leg and kind; return how many."""
        if self._arrivals is None or self._arrivals[0] is not inbox:
            self._arrivals = (inbox, mmsg.Arrivals(inbox.data))
        arrivals = self._arrivals[1]
        inbox.stamps.fill(nan)
        first = self._take_waiting(inbox) if self._waiting else 0
        found, parts = 0, []
        for descriptor, _ in self._epoll.poll(0):
            codes = self._readers.get(descriptor)
            came = arrivals.take(descriptor, first + found) if codes is not None else 0
            if came and codes is not None:
                parts.append((codes, came))
                found += came
        return self._sort_out(inbox, arrivals, parts, first, found) if found else first

    def _sort_out(
        self,
        inbox: Inbox,
        arrivals: mmsg.Arrivals,
        parts: list[tuple[dict[int, int], int]],
        first: int,
        found: int,
    ) -> int:
        """Tell whose the datagrams are that lie in the inbox from ``first`` on; return its count.

        ``parts`` has for each port, in order, the codes of its sources and how many came there.
        """
        keys, codes = iter(arrivals.sources(first, found)), inbox.codes[:first]
        for known, came in parts:
            codes.extend(map(known.get, islice(keys, came), repeat(-1)))
        stop = first + found
        inbox.codes[:stop] = codes
        inbox.sizes[first:stop] = arrivals.sizes(first, found)
        inbox.stamps[first:stop] = arrivals.times(first, found)
        distinct = set(codes)
        if len(distinct) < stop or -1 in distinct or self._waiting:
            return self._sift(inbox, first, found)
        return stop

    def _take_waiting(self, inbox: Inbox) -> int:
        """Put the first waiting datagram of each leg into the inbox."""
        count = 0
        for code, queue in list(self._waiting.items()):
            if count == inbox.capacity:
                break
            datagram = queue.popleft()
            inbox.views[count][: len(datagram)] = datagram
            inbox.sizes[count], inbox.codes[count] = len(datagram), code
            count += 1
            if not queue:
                del self._waiting[code]
        return count

    def _sift(self, inbox: Inbox, first: int, found: int) -> int:
        """Keep one datagram a leg of what was read, hold others back; return the new count."""
        views, sizes, codes = inbox.views, inbox.sizes, inbox.codes
        taken = set(codes[:first])
        count = first
        for i in range(first, first + found):
            code = codes[i]
            if code < 0:
                self.unknown += 1
            elif code in taken or code in self._waiting:
                queue = self._waiting.setdefault(code, deque())
                if len(queue) < WAITING:
                    queue.append(bytes(views[i][: sizes[i]]))
                else:
                    self.overrun += 1
            else:
                taken.add(code)
                if i != count:
                    views[count][: sizes[i]] = views[i][: sizes[i]]
                    sizes[count], codes[count] = sizes[i], code
                    inbox.stamps[count] = inbox.stamps[i]
                count += 1
        return count
