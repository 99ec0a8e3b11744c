"""A whole server in a virtual net: real SIP, real mixing, no sockets and no waiting."""

from __future__ import annotations

from random import Random
from typing import Any

from ..config import Config
from ..server.inline_host import InlineHost
from ..server.server import Server
from .media import VirtualMediaIO
from .net import VirtualNet

HOST = "192.0.2.1"  # TEST-NET-1, RFC 5737


def virtual_server(
    net: VirtualNet, *, host: str = HOST, seed: int = 1, phases: int = 4, **config: Any
) -> Server:
    """Return a server that listens in ``net`` at ``host``, ports 5060 of UDP and TCP.

    Parameters
    ----------
    seed
        Of every tag, SSRC and sequence number: the same seed gives the same bytes.
    phases
        Beats in a ptime of the mixer.
    config
        Any other field of `Config`.
    """
    literal = f"[{host}]" if ":" in host else host
    listens = (f"udp:{literal}:5060", f"tcp:{literal}:5060")
    settings: dict[str, Any] = {"sip_listen": listens, "media_address": host, "seed": seed} | config
    checked = Config(**settings)
    media_io = VirtualMediaIO(net, host, checked.rtp_ports)
    media_host = InlineHost(media_io, phases=phases, source=Random(seed))
    return Server(checked, media_host=media_host)
