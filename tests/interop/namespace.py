"""A network of one's own for programs that pass over the loopback interface.

The calling thread moves into a new network namespace; threads and programs that it starts while it
is there are in it too, and so are the sockets that they open.  It has a loopback interface and one
more with an address, which leads nowhere and need not: the kernel delivers a machine's own
addresses by itself.  The namespace is gone when the last of them has ended.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

ADDRESS = "10.77.0.1"
_NEW_NETWORK = 0x40000000  # CLONE_NEWNET
_COMMANDS = (
    "link set lo up",
    "tuntap add dev tun0 mode tun",
    f"address add {ADDRESS}/24 dev tun0",
    "link set tun0 up",
    "route add default dev tun0",
)


class NoNamespaceError(OSError):
    """This machine or user may not make one."""


@contextmanager
def own_network() -> Iterator[str]:
    """Move this thread into a new network, and back; yield the address there."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        if libc.unshare(_NEW_NETWORK) != 0:
            raise NoNamespaceError(f"no network namespace: {os.strerror(ctypes.get_errno())}")
        try:
            for command in _COMMANDS:
                done = subprocess.run(
                    ["ip", *command.split()], capture_output=True, text=True, check=False
                )
                if done.returncode != 0:
                    raise NoNamespaceError(f"ip {command}: {done.stderr.strip()}")
            yield ADDRESS
        finally:
            if libc.setns(home, _NEW_NETWORK) != 0:
                raise OSError(ctypes.get_errno(), "can't go back to the first network")
    finally:
        os.close(home)
