"""SIPp scenarios put together from steps, for flows that differ in the order of messages alone.

Each function returns the XML of one step; `script` makes a scenario of them.  SIPp counts steps
from 0, and ``[branch-N]`` is the branch of the request N steps earlier: what a CANCEL or the ACK to
a refusal has to repeat (RFC 3261 sections 9.1 and 17.1.1.3).
"""

from __future__ import annotations

SDP = """
      v=0
      o=sipp 1 {version} IN IP[local_ip_type] [local_ip]
      s=-
      c=IN IP[media_ip_type] [media_ip]
      t=0 0
      m=audio [rtp_port] RTP/AVP 0 101
      a=rtpmap:0 PCMU/8000
      a=rtpmap:101 telephone-event/8000
      a={direction}"""
KEPT = ("From", "To", "CSeq")
# A header may stand on several lines, of which SIPp would keep the first.
VIAS = "Via: [[:print:]]*([[:cntrl:]]+Via: [[:print:]]*)*"
CONTACT = "Contact: <sip:sipp@[local_ip]:[local_port];transport=[transport]>"


def script(name: str, *steps: str) -> str:
    """Return a scenario of these steps."""
    numbered = [step.replace("@variable", str(number)) for number, step in enumerate(steps, 1)]
    head = '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE scenario SYSTEM "sipp.dtd">\n'
    return f'{head}<scenario name="{name}">\n{"".join(numbered)}</scenario>\n'


def request(
    method: str,
    number: int,
    *,
    in_dialog: bool = False,
    steps_back: int = 0,
    direction: str = "",
    headers: tuple[str, ...] = (),
    body: str = "",
    answering: bool = False,
) -> str:
    """Send a request.

    Parameters
    ----------
    number
        The number in CSeq.
    in_dialog
        To the remote target and along the route set.
    steps_back
        With the branch of the request that many steps earlier.
    direction
        With an offer or answer of this direction; empty for none.
    body
        Instead of a session description; `headers` say of what type it is.
    answering
        In a dialog that the other side began: its From is our To, tags and all.
    """
    there = "sip:[service]@[remote_ip]:[remote_port];transport=[transport]"
    target = "[next_url]" if in_dialog else there
    branch = f"[branch-{steps_back}]" if steps_back else "[branch]"
    # The tag of a refusal goes into its ACK; a CANCEL has the To of its INVITE.
    to_tag = "[peer_tag_param]" if in_dialog or method == "ACK" else ""
    ends = ["From:[$to];tag=[pid]s[call_number]", "To:[$from]"]
    lines = [
        f"{method} {target} SIP/2.0",
        f"Via: SIP/2.0/[transport] [local_ip]:[local_port];branch={branch}",
        *(["[routes]"] if in_dialog else []),
        *(
            ends
            if answering
            else [
                "From: <sip:sipp@[local_ip]:[local_port]>;tag=[pid]t[call_number]",
                f"To: <sip:[service]@[remote_ip]:[remote_port]>{to_tag}",
            ]
        ),
        "Call-ID: [call_id]",
        f"CSeq: {number} {method}",
        CONTACT,
        "Max-Forwards: 70",
        *headers,
    ]
    return _send(lines, direction, number, body)


def response(
    status: int,
    reason: str,
    *,
    tag: bool = True,
    method: str = "",
    direction: str = "",
    contact: str = CONTACT,
    kept: bool = False,
    headers: tuple[str, ...] = (),
) -> str:
    """Answer the request that came last, or the one that was `kept`.

    Parameters
    ----------
    tag
        Add our tag to To: the request was not in a dialog.
    method
        Answer another request of the same number and Via: the INVITE that a CANCEL is about.
    """
    ours = ";tag=[pid]s[call_number]" if tag else ""
    if kept:
        copied = [f"{name}:[${name.lower()}]{ours if name == 'To' else ''}" for name in KEPT]
        lines = [
            f"SIP/2.0 {status} {reason}",
            "[$via]",
            *copied,
            "Call-ID: [call_id]",
            contact,
            *headers,
        ]
        return _send(lines, direction, 1)
    lines = [
        f"SIP/2.0 {status} {reason}",
        "[last_Via:]",
        "[last_Record-Route:]",
        "[last_From:]",
        f"[last_To:]{ours}",
        "[last_Call-ID:]",
        f"CSeq: [last_cseq_number] {method}" if method else "[last_CSeq:]",
        contact,
        *headers,
    ]
    return _send(lines, direction, 1)


def expect(
    status: int, *, optional: bool = False, target: bool = False, header: str = "", body: str = ""
) -> str:
    """Receive a response to the request that was sent last.

    Parameters
    ----------
    target
        Take the remote target and the route set from it.
    header, body
        Regular expressions; a header as ``Name: expression``.
    """
    return _receive(f'response="{status}"', optional, target, header, body)


def challenge(status: int) -> str:
    """Receive a 401 or 407; ``[authentication ...]`` of the next request answers it."""
    return f'  <recv response="{status}" auth="true"/>\n'


def keep_request(method: str, *, target: bool = False) -> str:
    """Receive a request that is answered after other messages have come."""
    names = ["via", *(name.lower() for name in KEPT)]
    found = f'<ereg regexp="{VIAS}" search_in="msg" assign_to="via"/>' + "".join(
        f'<ereg regexp=".*" search_in="hdr" header="{name}:" assign_to="{name.lower()}"/>'
        for name in KEPT
    )
    reference = f'  <Reference variables="{",".join(names)}"/>\n'
    routes = ' rrs="true"' if target else ""
    return f'  <recv request="{method}"{routes}><action>{found}</action></recv>\n{reference}'


def expect_request(method: str, *, target: bool = False, header: str = "", body: str = "") -> str:
    """Receive a request; see `expect`."""
    return _receive(f'request="{method}"', False, target, header, body)


def pause(milliseconds: int) -> str:
    """Wait."""
    return f'  <pause milliseconds="{milliseconds}"/>\n'


def _send(lines: list[str], direction: str, version: int, body: str = "") -> str:
    if direction:
        body = SDP.format(version=version, direction=direction)
    elif body:
        body = f"\n      {body}"
    media_type = ["Content-Type: application/sdp"] if direction else []
    text = "\n      ".join([*lines, *media_type, "Content-Length: [len]"])
    return f"  <send><![CDATA[\n      {text}\n{body}\n  ]]></send>\n"


def _receive(what: str, optional: bool, target: bool, header: str, body: str) -> str:
    attributes = ' optional="true"' if optional else ""
    attributes += ' rrs="true"' if target else ""
    if not header and not body:
        return f"  <recv {what}{attributes}/>\n"
    name, _, expression = header.partition(": ")
    where = f'search_in="hdr" header="{name}:"' if header else 'search_in="body"'
    found = f'<ereg regexp="{expression or body}" {where} check_it="true" assign_to="@variable"/>'
    reference = '  <Reference variables="@variable"/>\n'
    return f"  <recv {what}{attributes}><action>{found}</action></recv>\n{reference}"
