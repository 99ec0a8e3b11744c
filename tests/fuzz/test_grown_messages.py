"""Messages grown from the grammar by hypothesis: what is well-formed is read back, what is not
is refused, and nothing else happens."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from rtpmix.errors import SipParseError, UsageError
from rtpmix.sip.framing import StreamFramer
from rtpmix.sip.grammar import parse_parameters, quote, split_commas, unquote
from rtpmix.sip.header_values import CSeq, NameAddr, Via
from rtpmix.sip.headers import Headers
from rtpmix.sip.message import MessageError, Request, parse_message, respond
from rtpmix.sip.uri import SipUri, escape_user, parse_uri

TOKENS = st.text("abcXYZ019-.!%*_+`'~", min_size=1, max_size=12)
USERS = st.none() | st.text(max_size=12).filter(bool).map(
    lambda text: escape_user(text.encode("utf-8", "ignore").decode() or "u")
)
HOSTS = st.sampled_from(["a", "example.com", "192.0.2.1", "::1", "2001:db8::9:1", "my_host"])
PORTS = st.none() | st.integers(0, 65535)
PARAMETER_NAMES = st.text("abc-_x1", min_size=1, max_size=5)
URI_PARAMETERS = st.dictionaries(
    PARAMETER_NAMES, st.none() | st.text("abZ09-_.:[]", min_size=1, max_size=6), max_size=3
).map(lambda pairs: tuple(pairs.items()))
URI_HEADERS = st.lists(st.tuples(st.text("abX", min_size=1), st.text("ab%20"[:2])), max_size=2)
URIS = st.builds(
    SipUri,
    scheme=st.sampled_from(["sip", "sips"]),
    user=USERS,
    password=st.none(),
    host=HOSTS,
    port=PORTS,
    parameters=URI_PARAMETERS,
    headers=URI_HEADERS.map(tuple),
)
PARAMETERS = st.dictionaries(
    PARAMETER_NAMES,
    st.none() | TOKENS | st.text('ab ;,\\"<>=é', max_size=8).map(quote),
    max_size=3,
).map(lambda pairs: tuple(pairs.items()))
# What may stand in a quoted string; NUL, CR and LF are left out when it is written.
NAMES = st.none() | st.text(max_size=12).map(lambda t: t.encode("utf-8", "ignore").decode()).map(
    lambda text: "".join(c for c in text if c not in "\x00\r\n")
)
PARTIES = st.builds(NameAddr, NAMES, URIS, PARAMETERS)
VIAS = st.builds(
    Via, st.just("SIP/2.0"), st.sampled_from(["UDP", "TCP", "X-1"]), HOSTS, PORTS, PARAMETERS
)
BODIES = st.binary(max_size=60)
VALUES = st.text('aZ 09;,=<>"\\\t:@é\udcff', max_size=20)


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """A well-formed request with strange but allowed values."""
    method = draw(TOKENS)
    uri = draw(URIS.map(lambda uri: SipUri(uri.scheme, uri.user, None, uri.host, uri.port)))
    headers = [("Via", str(via)) for via in draw(st.lists(VIAS, min_size=1, max_size=3))]
    headers += [("From", str(draw(PARTIES))), ("To", str(draw(PARTIES)))]
    headers += [("Call-ID", draw(TOKENS)), ("CSeq", f"{draw(st.integers(0, 2**31 - 1))} {method}")]
    headers += [("Contact", str(party)) for party in draw(st.lists(PARTIES, max_size=3))]
    headers += [(f"X-{draw(TOKENS)}", draw(VALUES)) for _ in range(draw(st.integers(0, 3)))]
    return Request.create(method, uri, headers, draw(BODIES), "text/plain")


@given(URIS)
def test_a_uri_that_is_written_is_read_back(uri: SipUri) -> None:
    assert parse_uri(str(uri)) == uri
    assert uri.equals(parse_uri(str(uri)))


@given(PARTIES)
def test_a_party_that_is_written_is_read_back(party: NameAddr) -> None:
    assert NameAddr.parse(str(party)) == party


@given(VIAS)
def test_a_via_that_is_written_is_read_back(via: Via) -> None:
    assert Via.parse(str(via)) == via


@given(st.lists(PARTIES, min_size=1, max_size=5))
def test_a_list_splits_where_its_items_were_joined(parties: list[NameAddr]) -> None:
    items = [str(party) for party in parties]
    assert split_commas(", ".join(items)) == items


@given(st.text(max_size=30))
def test_quoting_loses_only_what_ends_a_line(text: str) -> None:
    kept = "".join(c for c in text if c not in "\x00\r\n")
    assert unquote(quote(text)) == kept


@given(requests())
@settings(max_examples=200)
def test_a_request_that_is_written_is_read_back(request: Request) -> None:
    data = request.to_bytes()
    again = parse_message(data)
    assert isinstance(again, Request)
    stripped = [(name, value.strip(" \t")) for name, value in request.headers.items()]
    assert list(again.headers.items()) == stripped
    assert (again.method, again.uri, again.body) == (request.method, request.uri, request.body)
    assert again.to_bytes() == parse_message(again.to_bytes()).to_bytes()
    answer = parse_message(respond(again, 200, to_tag="t").to_bytes())
    assert answer.vias == again.vias
    assert answer.from_ == again.from_


@given(st.lists(requests(), max_size=4), st.lists(st.integers(1, 300), min_size=1, max_size=9))
@settings(max_examples=60)
def test_a_stream_of_requests_is_cut_where_it_was_joined(
    messages: list[Request], sizes: list[int]
) -> None:
    written = [message.to_bytes() for message in messages]
    stream = b"".join(written)
    framer = StreamFramer()
    found: list[bytes] = []
    while stream:
        for size in sizes:
            found += framer.feed(stream[:size])
            stream = stream[size:]
    assert found == written


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for prefix in (b"", b"INVITE sip:a@b SIP/2.0\r\n", b"SIP/2.0 200 OK\r\nVia: "):
        try:
            parse_message(prefix + data)
        except MessageError as error:
            if error.partial is not None:
                respond(error.partial, error.status_hint or 400, to_tag="t").to_bytes()


@given(st.text(max_size=60))
def test_any_text_is_a_value_or_refused(text: str) -> None:
    split_commas(text)
    for read in (parse_uri, NameAddr.parse, Via.parse, CSeq.parse, parse_parameters):
        try:
            value = read(text)  # type: ignore[operator]
        except SipParseError:
            continue
        str(value)


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_header_that_is_added_stays_one_header(name: str, value: str) -> None:
    """No value and no name may end its line (RFC 3261 section 7.3)."""
    headers = Headers()
    try:
        headers.add(name, value)
    except UsageError:
        return
    written = Request("OPTIONS", "sip:a", headers).to_bytes()
    assert written.count(b"\r") == written.count(b"\n") == written.count(b"\r\n") == 4
    assert b"\x00" not in written
