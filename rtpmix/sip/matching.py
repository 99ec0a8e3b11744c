"""Which transaction a message belongs to: the keys of the indexes.

A key is a tuple that two messages share exactly when the RFC says that they match, so that every
match is one dictionary look-up whatever the number of transactions.
"""

from __future__ import annotations

from collections.abc import Hashable

from .message import Request, Response

MAGIC_COOKIE = "z9hG4bK"  # RFC 3261 section 8.1.1.7; compared in any case, as tokens are


def client_key(response: Response) -> Hashable:
    """Return the client transaction that a response answers.

    The method counts because a CANCEL has the branch of the INVITE that it cancels.

    References
    ----------
    RFC 3261 section 17.1.3
    """
    return response.via.branch, response.cseq.method


def server_key(request: Request, method: str | None = None) -> Hashable:
    """Return the server transaction that a request belongs to.

    Parameters
    ----------
    method
        In place of the request's own: "INVITE" finds what an ACK acknowledges or a CANCEL
        cancels (section 9.2).

    Notes
    -----
    Without the magic cookie the client follows RFC 2543, and the key is made of the whole top
    Via, Request-URI, From tag, Call-ID and CSeq number. Section 17.2.3 also compares the To tag,
    which is left out: it is the request's for an INVITE but the response's for an ACK, and two
    requests of one client that share all the rest are never two transactions.

    References
    ----------
    RFC 3261 section 17.2.3
    """
    via = request.via
    if method is None:
        method = "INVITE" if request.method == "ACK" else request.method
    branch = via.branch
    if branch is not None and branch[:7].lower() == "z9hg4bk":
        return branch, via.host.lower(), via.port, method
    return (
        request.call_id,
        request.from_.tag,
        request.cseq.number,
        str(via),
        request.uri,
        method,
    )


def merge_key(request: Request) -> Hashable:
    """Return what two copies of one forked request share, though they came by different ways.

    References
    ----------
    RFC 3261 section 8.2.2.2
    """
    return request.call_id, request.from_.tag, request.cseq.number, request.method
