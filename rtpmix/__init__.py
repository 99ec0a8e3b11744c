"""rtpmix: a SIP/RTP media server library.

Calls are legs, legs meet in bridges, a supervision changes who hears whom, and a recording taps
what is said into a sealed SRTP capture.  Start with `Server` and `Config`.
"""

from __future__ import annotations

from .config import Config
from .errors import (
    CallFailed,
    CapacityError,
    ProtocolError,
    RecordingError,
    RtpmixError,
    SupervisionRefused,
    UsageError,
)
from .events import (
    BridgeChanged,
    BridgeClosed,
    CallArrived,
    CallRedirected,
    DigitReceived,
    Event,
    EventsDropped,
    InfoReceived,
    LegClosed,
    LegHeld,
    LegIdentified,
    LegMediaLatched,
    LegMediaLost,
    LegOneWayAudio,
    LegOpened,
    LevelsMeasured,
    LoginThrottled,
    MediaWorkerLost,
    MessageReceived,
    ModeChanged,
    RecordingGap,
    RecordingStarted,
    RecordingStopped,
    Registered,
    SeatRefused,
    SupervisionEvent,
    TransferEnded,
    TransferRefused,
    TransferStarted,
    TrunkFailed,
    TrunkRegistered,
)
from .mixer.commands import LegStats
from .sdp.security import Encryption
from .server.bridge import Bridge
from .server.incoming import IncomingCall
from .server.leg import Leg
from .server.listening import Listener
from .server.messages import IncomingMessage
from .server.playing import Playback, tone
from .server.recording import Recording
from .server.seat_requests import SeatRequest
from .server.server import Server
from .server.speaking import Speaker
from .server.supervising import Supervision
from .server.transfer_policy import TransferRequest
from .server.watching import WatchRequest
from .sip.authentication import Credential
from .sip.credentials import Secret
from .sip.history import Diverted
from .sip.identity import CallerIdentity
from .sip.user_to_user import UserToUser
from .supervision import Anchor, Fate, Mode, Role
from .transports import StreamLimits, TlsConfig
from .trunks import Trunk

__version__ = "0.1.0"

__all__ = [
    "Anchor",
    "Bridge",
    "BridgeChanged",
    "BridgeClosed",
    "CallArrived",
    "CallFailed",
    "CallRedirected",
    "CallerIdentity",
    "CapacityError",
    "Config",
    "Credential",
    "DigitReceived",
    "Diverted",
    "Encryption",
    "Event",
    "EventsDropped",
    "Fate",
    "IncomingCall",
    "IncomingMessage",
    "InfoReceived",
    "Leg",
    "LegClosed",
    "LegHeld",
    "LegIdentified",
    "LegMediaLatched",
    "LegMediaLost",
    "LegOneWayAudio",
    "LegOpened",
    "LegStats",
    "LevelsMeasured",
    "Listener",
    "LoginThrottled",
    "MediaWorkerLost",
    "MessageReceived",
    "Mode",
    "ModeChanged",
    "Playback",
    "ProtocolError",
    "Recording",
    "RecordingError",
    "RecordingGap",
    "RecordingStarted",
    "RecordingStopped",
    "Registered",
    "Role",
    "RtpmixError",
    "SeatRefused",
    "SeatRequest",
    "Secret",
    "Server",
    "Speaker",
    "StreamLimits",
    "Supervision",
    "SupervisionEvent",
    "SupervisionRefused",
    "TlsConfig",
    "TransferEnded",
    "TransferRefused",
    "TransferRequest",
    "TransferStarted",
    "Trunk",
    "TrunkFailed",
    "TrunkRegistered",
    "UsageError",
    "UserToUser",
    "WatchRequest",
    "tone",
]
