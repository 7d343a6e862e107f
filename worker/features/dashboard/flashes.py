"""What became of an action, for the page that is shown next: in a cookie that only the same person's visit can read."""

import base64
from hmac import compare_digest, digest

from aiohttp import web

from worker.features.dashboard.visits import Visit, cookie_name, drop_cookie, set_cookie

SECONDS = 60
LONGEST = 1500  # characters


def say(answer: web.StreamResponse, request: web.Request, visit: Visit, text: str) -> None:
    written = base64.urlsafe_b64encode(text[:LONGEST].encode()).decode()
    set_cookie(answer, request, _name(request), f"{written}.{_seal(visit, written)}", max_age=SECONDS)


def said(request: web.Request, visit: Visit) -> str:
    """What was said; "" if nothing was. `forget` then ends it."""
    written, _, seal = request.cookies.get(_name(request), "").partition(".")
    if not seal or not compare_digest(_bytes(seal), _seal(visit, written).encode()):
        return ""
    return base64.urlsafe_b64decode(written).decode()


def forget(answer: web.StreamResponse, request: web.Request) -> None:
    drop_cookie(answer, request, _name(request))


def _name(request: web.Request) -> str:
    return f"{cookie_name(request)}_said"


def _seal(visit: Visit, written: str) -> str:
    return digest(_bytes(visit.secret), _bytes(f"said {written}"), "sha256").hex()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")  # a cookie may hold any bytes
