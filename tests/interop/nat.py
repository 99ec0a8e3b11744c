"""A NAT of a few lines: UDP of a network of one's own, with other ports and another address.

It reads the IP packets of the namespace's tun device, as a router would, and sends what is in
them from sockets of its own: one for each port inside (RFC 4787 section 4.1, endpoint-independent).
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import struct

from tests.interop.namespace import ADDRESS

_SET_INTERFACE = 0x400454CA  # TUNSETIFF
_TUN_NO_INFO = 0x0001 | 0x1000  # IFF_TUN, IFF_NO_PI
_UDP = 17
Address = tuple[str, int]


class UserSpaceNat:
    """Between a namespace of `own_network` and this one.

    `open` has to be called inside, `start` outside.
    """

    def __init__(self, public: str) -> None:
        self.public = public
        self._tun = -1
        self._sockets: dict[int, socket.socket] = {}  # by the port inside

    def open(self) -> None:
        """Take the other end of the namespace's device."""
        self._tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(self._tun, _SET_INTERFACE, struct.pack("16sH14x", b"tun0", _TUN_NO_INFO))

    def start(self) -> None:
        """Begin to pass packets."""
        asyncio.get_running_loop().add_reader(self._tun, self._outbound)

    def close(self) -> None:
        """Pass nothing more."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._tun)
        for one in self._sockets.values():
            loop.remove_reader(one)
            one.close()
        os.close(self._tun)

    def _outbound(self) -> None:
        packet = os.read(self._tun, 4096)
        length = 4 * (packet[0] & 15)
        if packet[0] >> 4 != 4 or packet[9] != _UDP:
            return
        inside, port = struct.unpack_from("!HH", packet, length)
        destination = socket.inet_ntoa(packet[16:20]), port
        try:
            self._outer(inside).sendto(packet[length + 8 :], destination)
        except OSError:
            return  # no route: a router drops it, too

    def _outer(self, inside: int) -> socket.socket:
        one = self._sockets.get(inside)
        if one is None:
            one = self._sockets[inside] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            one.setblocking(False)
            one.bind((self.public, 0))
            asyncio.get_running_loop().add_reader(one, self._inbound, one, inside)
        return one

    def _inbound(self, one: socket.socket, inside: int) -> None:
        try:
            data, source = one.recvfrom(4096)
        except OSError:
            return  # an ICMP error of something sent before
        os.write(self._tun, ip_packet(source, (ADDRESS, inside), data))


def ip_packet(source: Address, destination: Address, data: bytes) -> bytes:
    """Return an IPv4 packet with UDP, which needs no checksum (RFC 768)."""
    header = struct.pack(
        "!BBHHHBBH4s4s",
        0x45, 0, 28 + len(data), 0, 0, 64, _UDP, 0,
        socket.inet_aton(source[0]), socket.inet_aton(destination[0]),
    )  # fmt: skip
    total = sum(struct.unpack("!10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    total = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    header = header[:10] + total.to_bytes(2, "big") + header[12:]
    return header + struct.pack("!HHHH", source[1], destination[1], 8 + len(data), 0) + data
