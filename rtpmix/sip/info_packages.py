"""INFO packages: what each side of a call says that it takes.

References
----------
RFC 6086 sections 4.2 and 5.2; section 2 for INFO without a package, as it was before
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import SipParseError
from .grammar import is_token
from .headers import Headers

if TYPE_CHECKING:
    from .request_response import Request, Response

RECV_INFO = "Recv-Info"
INFO_PACKAGE = "Info-Package"
MAX_BODY = 16_384  # octets of an INFO that are looked at
_MOST = 64  # packages that are remembered of a peer


def read_recv_info(message: Request | Response) -> frozenset[str] | None:
    """Return the packages that a peer takes; None where it says nothing of them (section 5.2.3).

    An empty header takes none, and says that packages are understood.
    """
    if RECV_INFO not in message.headers:
        return None
    values = [
        item.partition(";")[0].strip(" \t").lower()
        for line in message.headers.lines(RECV_INFO)
        for item in line.split(",")
    ]
    return frozenset([value for value in values if is_token(value) and value != "nil"][:_MOST])


def package_of(headers: Headers) -> str | None:
    """Return the package of an INFO in lower case; None for one without.

    Raises
    ------
    SipParseError
        400: more than one, or no token.
    """
    lines = headers.lines(INFO_PACKAGE)
    if not lines:
        return None
    name = lines[0].partition(";")[0].strip(" \t")
    if len(lines) > 1 or not is_token(name):
        raise SipParseError("an INFO names one package", status_hint=400)
    return name.lower()


def refusal_of_info(
    request: Request, taken: tuple[str, ...]
) -> tuple[int, tuple[tuple[str, str], ...]] | None:
    """Return status and headers that refuse an INFO with a package, or None (section 4.2.2).

    Parameters
    ----------
    taken
        The packages in our Recv-Info.
    """
    try:
        package = package_of(request.headers)
    except SipParseError as error:
        return error.status_hint or 400, ()
    if package is None:
        return None
    if package not in taken:
        return 469, ((RECV_INFO, ", ".join(taken)),)
    if len(request.body) > MAX_BODY:
        return 413, ()
    return None
