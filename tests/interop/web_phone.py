"""A JsSIP or SIP.js phone in a page of headless Chromium, with a microphone that says one tone."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import rtpmix
from tests.interop.chromium import EAR, Site, browsing
from tests.interop.commonjs import bundle
from tests.interop.conftest import absent, find_peer
from tests.interop.sipp import server_address
from tests.server.pki import Authority

REALM = "pbx.example"
PASSWORD = "sesame"
HERE = Path(__file__).parent / "jssip"


class WebPhone:
    """The page's phone: what it is told to do, what it tells and what it hears."""

    def __init__(self, site: Site) -> None:
        self.site = site

    def do(self, what: str, **arguments: Any) -> None:
        """Give an order: one of those at the end of `jssip/page.js`."""
        self.site.order(what, **arguments)

    async def tells(self, event: str, **facts: Any) -> dict[str, Any]:
        """Wait for something that the phone tells, and that no earlier wait has taken."""
        return await self.site.news.take(event=event, **facts)


def installed(name: str, path: str) -> Path:
    """Return where a library for pages is; without it fail in CI, and skip elsewhere."""
    library = HERE / "node_modules" / path
    if not library.exists():
        absent(f"{name} is not installed: make peers")
    find_peer("chromium")
    return library


@asynccontextmanager
async def serving(pages: dict[str, str]) -> AsyncIterator[Site]:
    """Serve these texts by their paths, for as long as the context lasts."""
    site = Site(pages)
    await site.start()
    with contextlib.closing(site):
        yield site


def site_with_jssip() -> AbstractAsyncContextManager[Site]:
    """Serve a page with JsSIP, made one script."""
    library = installed("JsSIP", "jssip/lib/JsSIP.js")
    scripts = {
        "/jssip.js": bundle(library, name="JsSIP"),
        "/ear.js": EAR,
        "/page.js": (HERE / "page.js").read_text(),
    }
    page = "".join(f'<script src="{path}"></script>' for path in scripts)
    return serving({"/": f"<!doctype html>{page}", **scripts})


def site_with_sipjs() -> AbstractAsyncContextManager[Site]:
    """Serve a page with SIP.js, of which the browser loads the modules themselves."""
    library = installed("SIP.js", "sip.js/lib")
    modules = {
        f"/sip.js/{path.relative_to(library)}": path.read_text() for path in library.rglob("*.js")
    }
    page = (
        '<!doctype html><script src="/ear.js"></script>'
        '<script type="module" src="/page.js"></script>'
    )
    own = {"/": page, "/ear.js": EAR, "/page.js": (HERE / "sipjs_page.js").read_text()}
    return serving({**modules, **own})


@asynccontextmanager
async def open_phone(
    site: Site,
    server: rtpmix.Server,
    folder: Path,
    *,
    user: str,
    voice: float,
    behind: str = "",
) -> AsyncIterator[WebPhone]:
    """Open the page for a user, who says a tone of `voice` hertz.

    `behind`: the one address that JsSIP's descriptions name, as if a NAT were before it.
    """
    facts = {
        "url": f"wss://{server_address(server, 'wss')}",
        "user": user,
        "password": PASSWORD,
        "domain": REALM,
        "behind": behind,
    }
    url = f"{site.origin}/?{urlencode(facts)}"
    async with browsing(find_peer("chromium"), url, folder, voice=voice):
        yield WebPhone(site)


def for_web_phones(
    config: rtpmix.Config, folder: Path, *, origin: str, users: tuple[str, ...], address: str
) -> rtpmix.Config:
    """Return a configuration that lets pages of an origin in by WSS, and has users for them.

    Media is at `address`: browsers make no ICE candidate of a loopback address.
    """
    certificate, key = Authority(folder).issue("server", "127.0.0.1")
    return replace(
        config,
        sip_listen=("wss:127.0.0.1:0", f"udp:{address}:0"),
        tls=rtpmix.TlsConfig(certificate=certificate, key=key),
        websocket_origins=(origin,),
        users=dict.fromkeys(users, PASSWORD),
        realm=REALM,
        media_address=address,
    )
