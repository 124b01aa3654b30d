"""Access control of the pages: every request that no rule allows is refused (FAULTS.md 54-58).

One guard stands before every route, so a new route is closed until a rule here opens it:

- the Host header must be a name under which the server was started (DNS rebinding);
- every route but those in PUBLIC needs a token, as a cookie or as a bearer (fault 56); the
  organiser's pages need the organiser's token;
- a request that changes something must come from our own page, by its Sec-Fetch-Site header, or
  by Origin where a browser does not send that; without both it is refused (fault 54). SameSite
  cookies are not enough: another port of this machine counts as the same site;
- bodies are JSON and small; answers carry a policy without inline script (fault 55), are never
  stored, and say nothing about files' ages.

Left out: TLS. Beyond loopback put the server behind a proxy that has it.
"""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

# Two cookies, since one person may label and organise in the same browser.
COOKIE = "dualipo_token"
ORGANISER_COOKIE = "dualipo_organiser"
ORGANISER = "/organiser"
MAX_BODY = 64 * 1024
BODY_SECONDS = 20.0
LOOPBACK = ("127.0.0.1", "localhost", "::1")
SAFE_METHODS = ("GET", "HEAD")

# Headers that proxies add.
FORWARDED = frozenset({"forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via"})

# The routes that need no token: the page that takes a link's token, and its files.
PUBLIC = frozenset(
    {
        ("GET", "/join"),
        ("GET", "/static/page.css"),
        ("GET", "/static/join.js"),
        ("GET", "/static/icon.svg"),
        ("POST", "/api/join"),
    }
)

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "media-src blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refused request: the HTTP status and the reason that is shown."""

    status: int
    reason: str


@dataclass(frozen=True)
class Door:
    """The rules of a site: its host names, and who a token belongs to.

    `annotator_of` returns the annotator of a token, or None. The organiser's token is made anew
    with every start of the server.
    """

    hosts: Collection[str]
    annotator_of: Callable[[str], str | None]
    is_organiser: Callable[[str], bool]
    open_pages: Collection[str] = field(default=())


class Guard:
    """ASGI middleware that refuses a request, or passes it on with its annotator.

    The annotator's name then stands in `scope["state"]["annotator"]`.
    """

    def __init__(self, app: App, door: Door) -> None:
        self.app = app
        self.door = door
        self.closing = threading.Event()  # set by the server when it ends

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse one request, or pass it on to the application."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # websockets are not served
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        refusal = self.judge(scope, headers)
        if refusal is None and scope["method"] not in SAFE_METHODS:
            body = await _read(receive)
            refusal = body if isinstance(body, Refusal) else None
            receive = _replay(b"" if isinstance(body, Refusal) else body)
        if refusal is not None:
            await _refuse(refusal, headers, send)
            return
        await self.app(scope, receive, _with_headers(send))

    def judge(self, scope: Scope, headers: Mapping[str, str]) -> Refusal | None:
        """Return why the request is refused, or None; record who is asking in the scope."""
        method, path = scope["method"], scope["path"]
        if _host(headers.get("host", "")) not in self.door.hosts:
            return Refusal(421, "unknown host name: restart with --allow-host NAME to serve it")
        if method not in SAFE_METHODS:
            if not is_own_page(headers):
                return Refusal(403, "the request did not come from this page")
            if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
                return Refusal(415, "the request must be JSON")
        state = scope.setdefault("state", {})
        state["annotator"], state["is_organiser"] = None, False
        if (method, path) in PUBLIC or (method in SAFE_METHODS and path in self.door.open_pages):
            return None
        if _is_below(path, ORGANISER) or _is_below(path, f"/api{ORGANISER}"):
            token = token_in(headers, ORGANISER_COOKIE)
            state["is_organiser"] = bool(token) and self.door.is_organiser(token)
            return None if state["is_organiser"] else _unknown(token)
        token = token_in(headers, COOKIE)
        state["annotator"] = self.door.annotator_of(token) if token else None
        return None if state["annotator"] is not None else _unknown(token)


class LoopbackGuard(Guard):
    """The guard of a page that only shows, to users of this machine: it needs no token.

    It refuses requests that would change something, and requests from other machines, also those
    that a proxy passes on and says so.
    """

    def __init__(self, app: App) -> None:
        super().__init__(app, Door(LOOPBACK, lambda token: None, lambda token: False))

    def judge(self, scope: Scope, headers: Mapping[str, str]) -> Refusal | None:
        """Return why the request is refused, or None."""
        peer = scope.get("client")
        if peer is None or peer[0] not in LOOPBACK or headers.keys() & FORWARDED:
            return Refusal(
                403,
                "this page is shown on its own machine only: see it from elsewhere with `ssh -L`",
            )
        if _host(headers.get("host", "")) not in self.door.hosts:
            return Refusal(421, "unknown host name: open it as 127.0.0.1 or localhost")
        if scope["method"] not in SAFE_METHODS:
            return Refusal(405, "this page only shows a run, it changes nothing")
        return None


def is_own_page(headers: Mapping[str, str]) -> bool:
    """Tell whether a changing request comes from a page of this origin (fault 54).

    A browser sends `none` for an address that was typed in; no form or script can cause that.
    """
    site = headers.get("sec-fetch-site")
    origin = headers.get("origin")
    if site is not None:
        return site in ("same-origin", "none") and (origin is None or _fits(origin, headers))
    return origin is not None and _fits(origin, headers)


def token_in(headers: Mapping[str, str], cookie_name: str) -> str:
    """Return the token that a request carries, or "" for none."""
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return bearer.strip()
    # Only our own name is read: another program on this host may set cookies that no parser takes.
    for pair in headers.get("cookie", "").split(";"):
        name, _, value = pair.strip().partition("=")
        if name == cookie_name:
            return value.strip('"')
    return ""


def _fits(origin: str, headers: Mapping[str, str]) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc == headers.get("host")


def _host(header: str) -> str:
    try:
        return (urlsplit(f"//{header}").hostname or "").lower()
    except ValueError:
        return ""


def _is_below(path: str, root: str) -> bool:
    return path == root or path.startswith(f"{root}/")


def _unknown(token: str) -> Refusal:
    if token:
        return Refusal(401, "this link is not valid: ask the organiser for a new one")
    return Refusal(401, "open your personal link, which the organiser gives you")


async def _read(receive: Receive) -> bytes | Refusal:
    """Return the whole body, or why it is refused: it is too long, or takes too long."""
    body = b""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                body += message.get("body", b"")
                if len(body) > MAX_BODY:
                    return Refusal(413, "the request is too long")
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return body
    except TimeoutError:
        return Refusal(408, "the request takes too long")


def _replay(body: bytes) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return messages.pop() if messages else {"type": "http.disconnect"}

    return receive


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = [(n, v) for n, v in message["headers"] if n.decode().lower() not in HEADERS]
            own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            message["headers"] = [*given, *own]
        await send(message)

    return sending


async def _refuse(refusal: Refusal, headers: Mapping[str, str], send: Send) -> None:
    is_page = "text/html" in headers.get("accept", "")
    if is_page:
        kind, text = "text/html; charset=utf-8", _PAGE.format(refusal.reason.capitalize())
    else:
        kind, text = "application/json", json.dumps({"error": refusal.reason})
    content = text.encode()
    length = str(len(content)).encode()
    start = [(b"content-type", kind.encode()), (b"content-length", length)]
    sending = _with_headers(send)
    await sending({"type": "http.response.start", "status": refusal.status, "headers": start})
    await sending({"type": "http.response.body", "body": content})


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>dualipo</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/static/page.css">
<link rel="icon" href="/static/icon.svg"></head>
<body class="door"><main><h1>dualipo</h1><p>{}.</p></main></body></html>
"""
