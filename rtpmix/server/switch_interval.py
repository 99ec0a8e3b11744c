"""How long a thread may keep the interpreter from others: a setting of the process, shared.

Media threads want it short between beats and long within one (`thread_host`).  Several may run in
one process, and end in any order: the first to begin keeps what was there before, and the last to
end puts it back.
"""

from __future__ import annotations

import sys
import threading

SWITCH_INTERVAL_S = 0.0001  # between beats
BEAT_INTERVAL_S = 0.02  # and in one


class SwitchInterval:
    """One media thread's use of the setting.

    Of several threads the last one to set it decides, which is right often enough: each sets it
    again with every beat.
    """

    _lock = threading.Lock()
    _users = 0
    _before = 0.005  # seconds

    def __init__(self) -> None:
        self._begun = False

    def begin(self) -> None:
        """Keep what is there, unless another user has done so, and make it short."""
        with SwitchInterval._lock:
            if self._begun:
                return
            self._begun = True
            if not SwitchInterval._users:
                SwitchInterval._before = sys.getswitchinterval()
            SwitchInterval._users += 1
            sys.setswitchinterval(SWITCH_INTERVAL_S)

    def lengthen(self) -> None:
        """A beat begins."""
        sys.setswitchinterval(BEAT_INTERVAL_S)

    def shorten(self) -> None:
        """The beat is over."""
        sys.setswitchinterval(SWITCH_INTERVAL_S)

    def end(self) -> None:
        """Put back what was there before the first user, if this is the last one.

        The thread that lengthens and shortens has ended by then.
        """
        with SwitchInterval._lock:
            if not self._begun:
                return
            self._begun = False
            SwitchInterval._users -= 1
            if not SwitchInterval._users:
                sys.setswitchinterval(SwitchInterval._before)
