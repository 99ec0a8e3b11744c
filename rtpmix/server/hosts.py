"""Which media host a configuration asks for."""

from __future__ import annotations

import socket
from pathlib import Path

from ..config import Config
from .media_host import MediaHost
from .process_host import ProcessHost
from .recording import DEFAULT_KEY
from .thread_host import ThreadHost


def media_host_of(config: Config) -> MediaHost:
    """Return a host that has not started: worker processes, or a thread of this one."""
    address = config.media_address or "0.0.0.0"
    # With an address named for IPv4 alone, media stays on that one.
    any_v6 = "::" if config.media_address is None and socket.has_ipv6 else None
    address_v6 = config.media_address_v6 or any_v6
    if not config.workers:
        return ThreadHost(
            media_address=address,
            media_address_v6=address_v6,
            ports=config.rtp_ports,
            legs_per_port=config.legs_per_port,
        )
    return ProcessHost(
        config.workers,
        media_address=address,
        media_address_v6=address_v6,
        ports=config.rtp_ports,
        legs_per_port=config.legs_per_port,
        recording_key=Path(config.recording_key or DEFAULT_KEY).expanduser(),
    )
