"""The settings of a server, and what each of them means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from ..sdp.security import Encryption
from ..sip.authentication import Credential
from ..sip.credentials import Secret
from ..sip.trust import identity_key
from ..transports import Listen, StreamLimits, TlsConfig
from ..trunks import Trunk
from .checks import check

SRTP_SUITES = (
    "AEAD_AES_256_GCM",
    "AEAD_AES_128_GCM",
    "AES_CM_128_HMAC_SHA1_80",
    "AES_CM_128_HMAC_SHA1_32",
)


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a `Server` needs to know; every value has a default that works on one machine.

    Parameters
    ----------
    sip_listen
        Where to listen for SIP: ``"udp:ADDRESS:PORT"``, or with ``tcp:``, ``tls:``, ``ws:`` or
        ``wss:``; an IPv6 address stands in brackets. Port 0 takes a free one;
        `Server.sip_address` tells which.
    tls
        Certificates, for ``tls:`` and ``wss:`` listeners and for calls over TLS.
    websocket_origins
        Web pages whose scripts may connect by ``ws:`` and ``wss:``, as
        ``"https://phone.example.com"``; ``"*"`` lets any page. Others get 403.
    stream_limits
        What is borne from connections.
    outbound_proxy
        ``"sip:proxy.example.com;lr"``: calls to others than our own users go there first.
    routes
        More proxies that such calls pass, in this order (RFC 3261 section 8.1.2).
    large_requests_over_tcp
        An INVITE of more than 1300 bytes to another server goes over TCP where it would have gone
        over UDP, and over UDP after all where TCP fails (RFC 3261 section 18.1.1). Phones that
        registered over UDP are always called over it.
    media_address
        The address for RTP, put into SDP. None: for each peer, the address this machine reaches
        it from.
    media_address_v6
        The same for peers on IPv6. None: like `media_address`, which may be an IPv6 address
        itself.
    rtp_ports
        Ports for RTP and RTCP, two to a leg.
    legs_per_port
        Above 1, legs whose peer has named its media address before ours, and all different ones,
        share a port pair, up to so many on each (Linux): a packet then costs half. Packets are
        heard only from the very address in the peer's SDP.
    media_latching
        Where media may come from: "never" other than from the address in the peer's session
        description; "behind-nat" also from where its first packets come, when that address is a
        private one and signalling comes from elsewhere; "always" so for every call. It is learned
        once for each session description, and only from the host of its signalling or of that
        address (RFC 7362). Not of calls with DTLS: where browsers are, their checks say.
    workers
        Processes that carry media, one for each processor that it may use. 0: a thread of this
        process. Above some hundred legs, SIP and media get in each other's way in one process.
    codecs
        Codecs in the order of preference, out of "PCMU", "PCMA", "G722", "opus", "L16/8000",
        "L16/16000" and "L16/48000". An offer is answered with the first of them that is in it;
        G722 and opus come with ``pip install 'rtpmix[codecs]'``.
    encryption
        Whether media is encrypted: `Encryption.REQUIRED`, ``OPTIONAL`` (with whoever can) or
        ``FORBIDDEN``. Under ``OPTIONAL``, keys are used wherever a peer offers them, and offered
        where signalling is encrypted too (TLS, WSS). A single call may differ.
    key_exchange
        How SRTP keys are agreed on, the way to offer first: "sdes" puts them in the session
        description, "dtls" makes them by a handshake (RFC 5764; needs ``rtpmix[dtls]``).
    srtp_suites
        Of SDES, the best first: AEAD_AES_256_GCM, AEAD_AES_128_GCM, AES_CM_128_HMAC_SHA1_80,
        AES_CM_128_HMAC_SHA1_32.
    jitter_ms
        The least time from a packet's arrival until it is played. The delay follows the jitter
        that a leg shows by itself; where that is known to come, this is there from the first
        packet on.
    comfort_noise
        True: comfort noise (RFC 3389) is offered, and a leg that agrees to it and hears nothing for
        200 ms gets a few octets a second instead of packets. False: it is agreed to where a peer
        offers it, and only what comes in is played.
    soft_limiter
        Of bridges for which `Server.bridge` says nothing else. True: where talkers together pass
        full scale, they are turned down for who hears them and come up again within a second.
        False: what passes full scale is clipped.
    extended_reports
        True: every leg gets RTCP XR with voice metrics (RFC 3611). False: those legs get them whose
        peer sends XR itself.
    media_timeout_s
        Seconds without RTP and RTCP after which a leg counts as lost; 0 never does.
    users
        User name to password, or to a `Secret` where only hashes are kept. With users, REGISTER
        is answered (digest, RFC 3261 section 22), and an INVITE that claims to come from `realm`
        must be theirs.
    lookup
        Asked for whoever is not in `users`: returns a password or a `Secret`, None for nobody.
        It is called on the loop and must not block: keep in memory what a database tells.
    digest_algorithms
        Offered in this order; RFC 8760 wants the strongest first, but many phones read one
        challenge and know MD5 alone.
    digest_qop
        "auth", and "auth-int" which covers the body too.
    password_guesses
        Wrong passwords looked at in a second from one host; more get 503 until they slow down.
    realm
        The digest realm, and the domain of the users' addresses of record.
    registrations
        An SQLite database in which registrations survive a restart; None keeps them in memory.
        A store of your own goes to `Server`.
    min_expires, max_expires
        Seconds: a phone that wants to register for less is told so, for more gets the most.
    require_login
        True: every INVITE must be authenticated; False: strangers may call too, with
        `IncomingCall.identity` None.
    credentials
        Host or address of a trunk to the `Credential` that answers its 401 and 407; it goes to no
        other host, since whoever gets an answer may try passwords against it.
    trunks
        Each a `Trunk`: providers and PBXs to register with and to call through.
    reliable
        Provisional responses (RFC 3262): "off" does not know 100rel, "on" offers it and uses it for
        early media or where a caller demands it, "required" demands it.
    session_expires
        Seconds after which a call that neither side refreshes is ended (RFC 4028); 0 for never.
    min_se
        The least that a peer may ask for instead.
    recording_key
        File that holds the key-encryption key of recordings; made, readable by its owner alone,
        when it does not exist. None: ``~/.config/rtpmix/recording.key``.
    recording_rate_hz
        The highest rate that recordings keep of a leg: 8000, 16000 or 48000 samples a second. Less
        than a leg's codec has takes less space, and less of the sound.
    max_calls
        Calls at a time; one more is refused with 503.
    requests_per_source
        Requests outside of calls that one host may send in a second, and as many again at once;
        more get 503, and past ten times as many datagrams nothing is looked at.
    trusted_networks
        Networks (CIDR) and addresses that have no such bound: trunks, proxies, load generators.
    trusted_peers
        Whose word on a caller's identity counts (P-Asserted-Identity, Remote-Party-ID), and who is
        told of ours: networks and addresses, ``"tls:HOST"`` for a peer whose certificate proves
        that host, ``"trunk:NAME"``. An address counts however its messages came: over UDP only
        where the network keeps others from using it.
    identity_form
        How identities are said to trusted peers: "asserted" (RFC 3325), "remote-party" (its draft
        predecessor) or "both".
    redirects
        How many contacts of 3xx responses a call may try (RFC 3261 section 8.1.3.4), each of them
        only where the policy of `Server.on_transfer` allows it; 0 follows none.
    session_ids
        Say in every message of a call which session it belongs to (RFC 7989).
    info_packages
        INFO packages that are taken (RFC 6086); they come as `InfoReceived`.
    message_types
        Media types of a MESSAGE that are taken (RFC 3428), such as ``("text/plain",)``; () refuses
        all with 405. See `Server.on_message`.
    supervision_notice
        How the agent's phone is told of a supervisor: "silent", "info" (INFO, where the phone takes
        the package ``rtpmix-supervision``) or "message" (MESSAGE). Customers are never told.
    notice_of_monitor
        Tell the agent of a supervisor who only listens, too.
    call_waiting
        False: a user of ours who is in a call is busy (486) for the next one.
    hold_music
        A file, or int16 PCM at 8000 Hz, that the others in a bridge hear while a phone holds them;
        None plays nothing.
    certificate_users
        Identities that TLS client certificates prove to user names, an alternative to a password:
        ``{"sip:alice@example.com": "alice"}`` for a SIP URI, or a host name, of the
        subjectAltName. Needs `TlsConfig.client_ca`.
    user_agent
        What the User-Agent and Server headers say.
    seed
        For tests: makes every tag, SSRC and first sequence number reproducible. Never set it on
        a network, where these must be unguessable.
    """

    sip_listen: tuple[str, ...] = ("udp:0.0.0.0:5060", "tcp:0.0.0.0:5060")
    tls: TlsConfig | None = None
    websocket_origins: tuple[str, ...] = ()
    stream_limits: StreamLimits = field(default_factory=StreamLimits)
    outbound_proxy: str | None = None
    routes: tuple[str, ...] = ()
    large_requests_over_tcp: bool = True
    media_address: str | None = None
    media_address_v6: str | None = None
    rtp_ports: range = range(20000, 40000)
    legs_per_port: int = 1
    media_latching: str = "never"
    workers: int = 0
    codecs: tuple[str, ...] = ("PCMU", "PCMA")
    encryption: Encryption = Encryption.OPTIONAL
    key_exchange: tuple[str, ...] = ("sdes", "dtls")
    srtp_suites: tuple[str, ...] = SRTP_SUITES
    jitter_ms: int = 0
    comfort_noise: bool = False
    soft_limiter: bool = False
    extended_reports: bool = False
    media_timeout_s: float = 30.0
    users: Mapping[str, str | Secret] = field(default_factory=dict, repr=False)
    lookup: Callable[[str], str | Secret | None] | None = field(default=None, repr=False)
    digest_algorithms: tuple[str, ...] = ("MD5", "SHA-256")
    digest_qop: tuple[str, ...] = ("auth",)
    password_guesses: float = 5.0
    realm: str = "rtpmix"
    registrations: Path | None = None
    min_expires: int = 60
    max_expires: int = 3600
    require_login: bool = False
    credentials: Mapping[str, Credential] = field(default_factory=dict, repr=False)
    trunks: tuple[Trunk, ...] = ()
    reliable: str = "on"
    session_expires: int = 1800
    min_se: int = 90
    recording_key: Path | str | None = None
    recording_rate_hz: int = 48_000
    max_calls: int = 5000
    requests_per_source: float = 100.0
    trusted_networks: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    trusted_peers: tuple[str, ...] = ()
    identity_form: str = "asserted"
    redirects: int = 0
    session_ids: bool = True
    info_packages: tuple[str, ...] = ()
    message_types: tuple[str, ...] = ()
    supervision_notice: str = "silent"
    notice_of_monitor: bool = False
    call_waiting: bool = True
    hold_music: Path | str | bytes | None = field(default=None, repr=False)
    certificate_users: Mapping[str, str] = field(default_factory=dict, repr=False)
    user_agent: str = "rtpmix/0.1.0"
    seed: int | None = None

    def __post_init__(self) -> None:
        check(self)
        if self.recording_key is not None:
            object.__setattr__(self, "recording_key", Path(self.recording_key))
        # A frozen dataclass should not change through the dict that it was made from.
        object.__setattr__(self, "users", MappingProxyType(dict(self.users)))
        proved = {identity_key(name): user for name, user in self.certificate_users.items()}
        object.__setattr__(self, "certificate_users", MappingProxyType(proved))
        trunks = {host.lower(): Credential(*login) for host, login in self.credentials.items()}
        object.__setattr__(self, "credentials", MappingProxyType(trunks))

    @property
    def has_users(self) -> bool:
        """True when somebody can log in."""
        return bool(self.users or self.certificate_users) or self.lookup is not None

    @property
    def route_set(self) -> tuple[str, ...]:
        """The Route of calls to others: the outbound proxy, then `routes`."""
        first = () if self.outbound_proxy is None else (self.outbound_proxy,)
        return tuple(f"<{uri}>" for uri in (*first, *self.routes))

    @property
    def listens(self) -> tuple[Listen, ...]:
        """`sip_listen`, parsed."""
        return tuple(Listen.parse(entry) for entry in self.sip_listen)
