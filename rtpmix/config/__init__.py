"""The server's configuration: frozen, and checked when it is made."""

from ..transports import Listen, StreamLimits, TlsConfig
from .checks import LATCHING, MOST_LEGS_PER_PORT, NOTICES, PORTS_PER_LEG
from .settings import SRTP_SUITES, Config

__all__ = [
    "LATCHING",
    "MOST_LEGS_PER_PORT",
    "NOTICES",
    "PORTS_PER_LEG",
    "SRTP_SUITES",
    "Config",
    "Listen",
    "StreamLimits",
    "TlsConfig",
]
