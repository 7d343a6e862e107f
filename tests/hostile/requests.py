"""Requests as bytes, so that a test can send what no HTTP client would."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from tests.hostile.genuine import EVENTS, genuine
from tests.web.site import CLOUD, EVENT

GOOD = json.dumps(EVENT).encode()
Headers = Mapping[str, str] | Iterable[tuple[str, str]]


def raw(
    body: bytes = GOOD,
    *,
    path: str = EVENTS,
    method: str = "POST",
    line: bytes | None = None,
    length: str | None = "",
    more: Headers = (),
    head: bytes = b"",
    known: bool = True,
    **replaced: str | None,
) -> bytes:
    """A request. `line`: the whole request line; `length`: the Content-Length, None for none; `more`: further headers;
    `head`: bytes after the headers as they are; `known`: with its key or signature; `replaced`: headers by name, with _
    for -, None to leave one out."""
    headers: dict[str, str | None] = {"Host": "x", "Content-Type": CLOUD, "Connection": "close"}
    headers |= genuine(path, body) if known else {}
    if length is not None:
        headers["Content-Length"] = length or str(len(body))
    headers |= {name.replace("_", "-"): value for name, value in replaced.items()}
    written = [(name, value) for name, value in headers.items() if value is not None]
    written += more.items() if isinstance(more, Mapping) else more
    first = line or f"{method} {path} HTTP/1.1".encode()
    fields = "".join(f"{name}: {value}\r\n" for name, value in written).encode("utf-8", "surrogateescape")
    return first + b"\r\n" + fields + head + b"\r\n" + body


def event(**changes: Any) -> bytes:
    """A request with an event; a value of None leaves the attribute out."""
    return raw(json.dumps({name: value for name, value in (EVENT | changes).items() if value is not None}).encode())


def data(**changes: Any) -> bytes:
    """A request with an event whose data is changed; a value of None leaves the column out."""
    changed = {name: value for name, value in (EVENT["data"] | changes).items() if value is not None}
    return event(id=hashlib.sha256(repr(changes).encode("utf-8", "surrogatepass")).hexdigest(), data=changed)


def status_of(answer: bytes) -> int:
    """The status of the first answer; 0 where the connection was closed without one."""
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/") else 0
