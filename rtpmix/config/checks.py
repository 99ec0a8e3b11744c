"""What is wrong with a configuration, said when it is made and with what to write instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..audio.coders import check_names
from ..audio.resample import check_rate
from ..errors import SipParseError, UsageError
from ..rtp.srtp import SUITES
from ..sdp.security import Encryption
from ..sip.agent_config import UserAgentConfig
from ..sip.credentials import ALGORITHMS
from ..sip.grammar import is_token
from ..sip.overload import parse_network
from ..sip.trust import TrustDomain
from ..sip.uri import SipUri
from ..transports import SECURE, check_address

if TYPE_CHECKING:
    from .settings import Config

LATCHING = ("never", "behind-nat", "always")
NOTICES = ("silent", "info", "message")
MOST_LEGS_PER_PORT = 200  # more would overrun the receive buffer that Linux grants by default
PORTS_PER_LEG = 2  # RTP on the even port, RTCP on the odd one above it (RFC 3550 section 11)


def check(config: Config) -> None:
    """Raise a `UsageError` for the first value that can't be, or can't be beside another."""
    _check_listens(config)
    _check_routes(config)
    _check_addresses(config)
    _check_ports(config.rtp_ports, config.legs_per_port)
    # The user agent says what is wrong with these.
    UserAgentConfig(
        reliable=config.reliable, session_expires=config.session_expires, min_se=config.min_se
    )
    check_names(config.codecs)
    if config.media_latching not in LATCHING:
        raise UsageError(f"media_latching is {config.media_latching!r}: use {', '.join(LATCHING)}")
    _check_encryption(config)
    _check_amounts(config)
    if config.require_login and not config.has_users:
        raise UsageError("require_login without users would refuse every call: name some users")
    if not 1 <= config.min_expires <= config.max_expires:
        raise UsageError("expires: give 1 <= min_expires <= max_expires, in seconds")
    _check_digest(config)
    _check_peers(config)
    _check_notices(config)
    check_rate("recording_rate_hz", config.recording_rate_hz)
    if config.requests_per_source <= 0:
        raise UsageError("requests_per_source is above 0 a second")
    for text in config.trusted_networks:
        parse_network(text)
    if len({trunk.name for trunk in config.trunks}) < len(config.trunks):
        raise UsageError("two trunks have the same name: Server.invite could not tell them apart")


def _check_listens(config: Config) -> None:
    if isinstance(config.sip_listen, str):
        raise UsageError("sip_listen is a tuple of entries: write ('udp:0.0.0.0:5060',)")
    transports = {listen.transport for listen in config.listens}
    if transports & set(SECURE) and config.tls is None:
        raise UsageError("sip_listen names tls: or wss: but there is no certificate: set tls")
    if isinstance(config.websocket_origins, str):
        raise UsageError("websocket_origins is a tuple: write ('https://phone.example.com',)")
    if transports & {"WS", "WSS"} and not config.websocket_origins:
        raise UsageError(
            "ws: and wss: are for web pages, and websocket_origins names none: "
            "name their origins, or '*' for any"
        )


def _check_addresses(config: Config) -> None:
    if config.media_address is not None:
        check_address("media_address", config.media_address)
    if config.media_address_v6 is not None:
        check_address("media_address_v6", config.media_address_v6)
        if ":" not in config.media_address_v6:
            raise UsageError("media_address_v6 is an IPv4 address: it goes to media_address")


def _check_amounts(config: Config) -> None:
    for name in ("jitter_ms", "max_calls", "workers"):
        value = getattr(config, name)
        if value < 0:
            raise UsageError(f"{name} is {value}; it can't be negative")
    if config.media_timeout_s < 0:
        raise UsageError("media_timeout_s can't be negative; 0 turns the timeout off")


def _check_encryption(config: Config) -> None:
    if not isinstance(config.encryption, Encryption):
        raise UsageError(
            f"encryption is {config.encryption!r}: use Encryption.REQUIRED, OPTIONAL or FORBIDDEN"
        )
    ways = config.key_exchange
    if isinstance(ways, str) or not ways or not set(ways) <= {"sdes", "dtls"}:
        raise UsageError(f"key_exchange {ways!r}: give 'sdes', 'dtls' or both in a tuple")
    suites = config.srtp_suites
    if isinstance(suites, str) or not suites or not set(suites) <= SUITES.keys():
        raise UsageError(f"srtp_suites {suites!r}: choose one or more of {', '.join(SUITES)}")


def _check_routes(config: Config) -> None:
    if isinstance(config.routes, str):
        raise UsageError("routes is a tuple of URIs: write ('sip:proxy.example.com;lr',)")
    for text in (*([config.outbound_proxy] if config.outbound_proxy else []), *config.routes):
        try:
            uri = SipUri.parse(text)
        except SipParseError as error:
            raise UsageError(f"{text!r} is not a SIP URI ({error}); write sip:host;lr") from error
        if uri.parameter("lr") is None:
            raise UsageError(f"{text!r} names a strict router, as of RFC 2543: add ';lr'")


def _check_digest(config: Config) -> None:
    wrong = [name for name in config.digest_algorithms if name not in ALGORITHMS]
    if wrong or not config.digest_algorithms:
        known = ", ".join(ALGORITHMS)
        raise UsageError(f"digest_algorithms {config.digest_algorithms!r}: choose out of {known}")
    if not config.digest_qop or not set(config.digest_qop) <= {"auth", "auth-int"}:
        raise UsageError(f"digest_qop {config.digest_qop!r}: choose 'auth', 'auth-int' or both")
    if not 0 < config.password_guesses <= 9:
        raise UsageError("password_guesses is above 0 and at most 9 a second")


def _check_peers(config: Config) -> None:
    for name in ("trusted_peers", "info_packages", "message_types"):
        if isinstance(getattr(config, name), str):
            raise UsageError(f"{name} is a tuple: write ('...',)")
    unknown = TrustDomain(config.trusted_peers).trunks - {trunk.name for trunk in config.trunks}
    if unknown:
        raise UsageError(f"trusted_peers names the trunk {min(unknown)!r}, which trunks has not")
    if config.identity_form not in ("asserted", "remote-party", "both"):
        raise UsageError(
            f"identity_form is {config.identity_form!r}: use 'asserted', 'remote-party' or 'both'"
        )
    if not 0 <= config.redirects <= 32:
        raise UsageError("redirects is 0 to 32 contacts")
    if config.certificate_users and (config.tls is None or config.tls.client_ca is None):
        raise UsageError("certificate_users needs tls with client_ca: else no certificate is asked")


def _check_notices(config: Config) -> None:
    for package in config.info_packages:
        if not is_token(package) or package != package.lower():
            raise UsageError(f"info_packages: {package!r} is not a token in lower case")
    for kind in config.message_types:
        main, slash, sub = kind.partition("/")
        if not (slash and is_token(main) and is_token(sub)) or kind != kind.lower():
            raise UsageError(f"message_types: {kind!r} is not a media type like 'text/plain'")
    if config.supervision_notice not in NOTICES:
        raise UsageError(
            f"supervision_notice is {config.supervision_notice!r}: use {', '.join(NOTICES)}"
        )


def _check_ports(ports: range, legs_per_port: int) -> None:
    if not 1 <= legs_per_port <= MOST_LEGS_PER_PORT:
        raise UsageError(f"legs_per_port is {legs_per_port}: give 1 to {MOST_LEGS_PER_PORT}")
    if len(ports) < PORTS_PER_LEG or ports.step != 1:
        raise UsageError(f"rtp_ports {ports!r}: give a range of at least {PORTS_PER_LEG} ports")
    if ports.start < 1024 or ports.stop > 65536:
        raise UsageError(f"rtp_ports {ports!r}: stay within 1024 to 65535")
