"""A connection that is kept for one request after the other: writes a request, and reads its answer.

aiohttp's connector has opened the connection (name look-up, TLS). httptools reads the answers; all that bounds them is
here. What goes wrong raises what ClientSession would raise.
"""

import asyncio
import zlib
from collections.abc import Callable
from functools import lru_cache
from itertools import chain

import aiohttp
from aiohttp.connector import Connection
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from onboarding_worker.core.model.http_messages import LARGEST_ANSWER, TOO_LARGE, Broken, HttpAnswer

LARGEST_HEAD = 16 * 1024  # of an answer's header lines; nginx and Apache send at most 8 KB
# Of all bytes of an answer: a body of the largest size may come in chunks of a few bytes, each with a line of its own.
MOST_BYTES = 8 * LARGEST_ANSWER
COMPRESSED = frozenset({"gzip", "x-gzip", "deflate"})
NO_REQUEST = aiohttp.RequestInfo(URL(), "", CIMultiDictProxy(CIMultiDict()), URL())  # no error holds an address
GZIP_OR_ZLIB = zlib.MAX_WBITS | 32


class NotHttp(aiohttp.ClientResponseError):
    """The answer is not HTTP, or its head is too large."""

    def __init__(self) -> None:
        super().__init__(NO_REQUEST, ())


class KeptConnection(asyncio.Protocol):
    """`is_usable`: it is open, the last answer has been read to its end, and nothing else has come. `idle_since`: for
    its keeper, in seconds of `monotonic`."""

    def __init__(self, opened: Connection) -> None:
        """Takes the transport over from aiohttp. Raises ClientConnectionResetError if it is lost already."""
        if opened.transport is None or opened.transport.is_closing():
            opened.close()
            raise aiohttp.ClientConnectionResetError("the connection was lost before anything was written")
        self._opened, self._transport, self._before = opened, opened.transport, opened.protocol
        self.loop = asyncio.get_running_loop()
        # Header lines as they came; of a name that comes more than once, the first. A dict's own method takes them from
        # the parser: a method of this class would cost a call in Python for each line.
        self._lines: dict[bytes, bytes] = {}
        self.on_header: Callable[[bytes, bytes], object] = self._lines.setdefault
        self._parser = HttpResponseParser(self)
        # As aiohttp does: lines that end without CR. (It allows folded header lines too, but must then look for NULs.)
        self._parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True)
        self._answered: asyncio.Future[HttpAnswer | Broken] | None = None
        self._reads_body = True
        self._whole = True  # no answer has begun, or the last one has been read to its end
        self._spoiled = False
        self._bytes = 0  # of the answer so far
        self._status = 0  # of the answer, once its head has come
        self._deadline = 0.0
        self._clear()
        self.idle_since = 0.0
        self._transport.set_protocol(self)

    @property
    def is_usable(self) -> bool:
        return self._whole and not self._spoiled and not self._transport.is_closing()

    def close(self) -> None:
        self._spoiled = True
        self._opened.close()

    def ask(self, written: bytes, *, deadline: float, reads_body: bool) -> "asyncio.Future[HttpAnswer | Broken]":
        """Write a request. The future gets its answer: whole, or after its head if not `reads_body`. It may get an
        aiohttp.ClientError instead, and from `end_if_late` a TimeoutError. Close the connection if it is not usable
        afterwards."""
        self._answered = answered = self.loop.create_future()
        self._deadline, self._reads_body, self._whole, self._bytes = deadline, reads_body, False, 0
        self._clear()
        self._transport.write(written)
        return answered

    def end_if_late(self, now: float) -> None:
        """Fail the call if its deadline has passed."""
        if now >= self._deadline:
            self._fail(TimeoutError())

    # Called by the transport.

    def data_received(self, data: bytes) -> None:
        if self._answered is None or self._answered.done():
            self.close()  # it was not asked for, or is not read
            return
        self._bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            self._spoiled = True
            self._fail(NotHttp())
        else:
            if not self._status and self._bytes - self._head_begins_at > LARGEST_HEAD:
                self._fail(NotHttp())
            elif self._bytes > MOST_BYTES:
                self._answer(TOO_LARGE)

    def connection_lost(self, error: Exception | None) -> None:
        self._spoiled = True
        if error is not None:
            self._fail(aiohttp.ClientOSError(*error.args))
        elif not self._status:
            self._fail(aiohttp.ServerDisconnectedError())
        elif self._headers.keys() & {"content-length", "transfer-encoding"}:
            self._fail(aiohttp.ClientPayloadError())
        else:
            self._end()  # a body that says nothing of its length goes on until the end
        if self._before is not None:
            self._before.connection_lost(error)  # aiohttp waits for it when the session closes
        self._opened.close()

    # Called by the parser.

    def on_message_begin(self) -> None:
        if self._whole:
            self._spoiled = True  # a second answer in the same bytes

    def on_headers_complete(self) -> None:
        if self._status:
            return  # of a second answer: the caller may have the headers of the first one already
        status = self._parser.get_status_code()
        if status >= 200 or status == 101:  # others announce an answer: early hints, "continue"
            self._status = status
            lines = self._lines
            if self._bytes > LARGEST_HEAD and sum(map(len, chain(lines, lines.values()))) > LARGEST_HEAD:
                raise NotHttp
            # Now, so that lines behind the body are not among them.
            for name, value in lines.items():
                self._headers.setdefault(_lower(name), value.decode("utf-8", "surrogateescape"))
            if not self._reads_body:
                self._answer(HttpAnswer(status, self._headers))

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes <= LARGEST_ANSWER:
            self._body.append(body)
        else:
            self._answer(TOO_LARGE)

    def on_message_complete(self) -> None:
        if self._status:
            self._whole = self._parser.should_keep_alive()
            self._end()
        else:
            self._clear()

    # The end of an answer.

    def _clear(self) -> None:
        self._status = self._body_bytes = 0
        self._head_begins_at = self._bytes
        self._lines.clear()
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []

    def _end(self) -> None:
        if self._reads_body:
            try:
                self._answer(self._read())
            except zlib.error:
                self._fail(NotHttp())

    def _read(self) -> HttpAnswer | Broken:
        body = b"".join(self._body)
        if body and self._headers.get("content-encoding", "").lower() in COMPRESSED:  # although none is asked for
            decoder = zlib.decompressobj(GZIP_OR_ZLIB)
            body = decoder.decompress(body, LARGEST_ANSWER + 1)
            if len(body) > LARGEST_ANSWER:
                return TOO_LARGE
            if not decoder.eof or decoder.unused_data:
                raise zlib.error("it is cut off, or more follows")
        return HttpAnswer(self._status, self._headers, body)

    def _answer(self, answer: HttpAnswer | Broken) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(answer)

    def _fail(self, error: Exception) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(error)


@lru_cache(maxsize=256)
def _lower(name: bytes) -> str:
    return name.decode("ascii").lower()
