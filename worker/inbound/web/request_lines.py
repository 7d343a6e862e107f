"""Refuses requests of other protocols that aiohttp reads as HTTP.

Its parser takes `POST /events RTSP/1.0` for HTTP/1.0, and a line without a version for HTTP/0.9. A proxy in front may
read such a line in another way, and two readings of one request are how requests are smuggled.

And it ends a connection behind a request that asks for another protocol, as Java's client does with `Upgrade: h2c`:
aiohttp drops what comes in the same bytes behind it, or keeps it back and reads it twice.
"""

import re
from typing import Any

from aiohttp.http_exceptions import BadStatusLine
from aiohttp.http_parser import RawRequestMessage

_BREAK = b"\r\n"
_BREAKS = re.compile(rb"[\r\n]*")
# A chunk's length in hex digits, and perhaps extensions. The parser bounds neither, and of a line that comes in many
# packets each is looked at anew.
LONGEST_CHUNK_LINE = 1024
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,%d}+)[^\r\n]*+\r\n" % LONGEST_CHUNK_LINE)
# Unread bytes of one connection. The parser's own bounds of a head are lower, and it reads 256 KiB at most at a time.
MOST_UNREAD = 1 << 20


class OnlyHttp:
    """aiohttp's parser of one connection, which must have read each request line as it was sent.

    A request line is looked for where the request before it ends, never elsewhere: a body may hold any line.
    """

    def __init__(self, parser: Any) -> None:
        self._parser = parser
        # From where the last known part of a request ends: the parser keeps bytes back while many requests wait.
        self._unread = bytearray()
        self._body = _Body()
        # The body of a request that asks for another protocol: the last one of this connection.
        self._last: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)

    def feed_data(self, data: bytes) -> Any:
        """Raises aiohttp's HttpProcessingError."""
        if self._last is not None:
            if not self._last.is_eof():
                self._parser.feed_data(data)
            return [], False, b""
        self._unread += data
        found = self._parser.feed_data(data)
        for place, (message, body) in enumerate(found[0]):
            self._body.drop_from(self._unread)
            _drop_head(self._unread, message)
            if message.upgrade:
                self._last = body
                self._unread.clear()
                return [*found[0][:place], (message._replace(should_close=True), body)], False, b""
            self._body = _Body.of(message)
        self._body.drop_from(self._unread)
        if len(self._unread) > MOST_UNREAD:
            raise BadStatusLine("no request that can be followed")
        return found


class _Body:
    """What of a request's body is to come: `left` bytes, and if it is chunked further chunks behind them."""

    def __init__(self, left: int = 0, *, chunked: bool = False) -> None:
        self._left, self._chunked, self._trailers = left, chunked, False

    @classmethod
    def of(cls, message: RawRequestMessage) -> "_Body":
        """The parser has checked both headers, and refuses a request with the two."""
        return cls(chunked=True) if message.chunked else cls(int(message.headers.get("Content-Length", 0)))

    def drop_from(self, unread: bytearray) -> None:
        """Remove what belongs to the body from the start of `unread`. A chunk's first line is removed as a whole."""
        while True:
            dropped = min(self._left, len(unread))
            del unread[:dropped]
            self._left -= dropped
            if self._left or not self._chunked:
                return
            if self._trailers:
                if (end := unread.find(_BREAK)) < 0:
                    return
                del unread[: end + len(_BREAK)]
                self._chunked = end > 0  # an empty line is the end
            elif chunk := _CHUNK.match(unread, 0, LONGEST_CHUNK_LINE):
                length, end = int(chunk[1], 16), chunk.end()
                del chunk  # a match keeps the bytes from being removed
                del unread[:end]
                self._left, self._trailers = length and length + len(_BREAK), not length
            elif len(unread) >= LONGEST_CHUNK_LINE:
                raise BadStatusLine("a chunk with too long a line")
            else:
                return


def _drop_head(unread: bytearray, message: RawRequestMessage) -> None:
    """Remove the message's head. Raises BadStatusLine if its first line was sent in another way than it was read."""
    version = message.version
    line = f"{message.method} {message.path} HTTP/{version.major}.{version.minor}".encode("utf-8", "surrogateescape")
    spaces = _BREAKS.match(unread)  # the parser passes over line breaks before a request
    start = spaces.end() if spaces else 0
    del spaces
    after = start + len(line)
    end = unread.find(2 * _BREAK, after)
    if not unread.startswith(line + _BREAK, start) or end < 0:
        raise BadStatusLine("no request line of HTTP")
    del unread[: end + 2 * len(_BREAK)]
