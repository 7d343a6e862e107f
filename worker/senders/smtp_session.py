"""An SMTP session that is ready for messages: commands may go out together, replies come back in their order.

aiosmtplib connects, says EHLO, starts TLS and logs in. Then a session takes its connection over, because aiosmtplib
reads one reply for each command that it writes and drops what comes together with it (RFC 2920, "PIPELINING").
"""

import asyncio
from collections import deque
from contextlib import suppress
from typing import cast

from aiosmtplib import SMTP, SMTPException, SMTPResponseException, SMTPServerDisconnected

LONGEST_REPLY = 64 * 1024  # bytes
MALFORMED = -1  # in the place of a code
GO_AHEAD = 354

Reply = tuple[int, str]


class Client(SMTP):
    """aiosmtplib's, whose `close` cuts the connection off. Over TLS the other side would have to answer to it, and a
    loop that ends before the answer fails: libuv's EBUSY."""

    def close(self) -> None:
        if self.transport is not None:
            cast(asyncio.WriteTransport, self.transport).abort()
        super().close()


class Session(asyncio.Protocol):
    """One connection. Each `ask` says how many replies it will get; what a server says unasked ends the session."""

    def __init__(self, client: SMTP) -> None:
        """Take over the connection of a client without an open command. Raises SMTPServerDisconnected."""
        transport = client.transport
        if transport is None or transport.is_closing():
            raise SMTPServerDisconnected("Connection lost")
        self.pipelining = client.supports_extension("pipelining")
        self.utf8 = client.supports_extension("smtputf8")
        self._client = client  # kept alive: it may close its transport at its end
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has no class in common with asyncio's
        self._owed = 0  # replies that have not come
        self._replies: deque[Reply] = deque()
        self._buffer = b""  # the beginning of a line
        self._lines: list[bytes] = []  # of the reply that is being read
        self._unanswered = 0  # bytes of that reply
        self._failure: SMTPException | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._lost = asyncio.Event()
        transport.set_protocol(self)

    @property
    def is_usable(self) -> bool:
        """Whether the next command may go out here. Not after a reply that nothing asked for, or in the middle of a
        message that the server waits for."""
        waits_for_message = any(code == GO_AHEAD for code, _ in self._replies)
        return self._failure is None and not waits_for_message and not self._transport.is_closing()

    def write(self, data: bytes, *, replies: int = 1) -> None:
        """Send commands, or a message. Raises SMTPServerDisconnected."""
        if self._transport.is_closing():
            raise SMTPServerDisconnected("Connection lost")
        self._owed += replies
        self._transport.write(data)

    async def reply(self) -> Reply:
        """The next reply's code and text. Raises SMTPResponseException for one that is not SMTP, and
        SMTPServerDisconnected."""
        while not self._replies:
            if self._failure is not None:
                raise self._failure
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._replies.popleft()

    async def ask(self, command: bytes, expected: int) -> Reply:
        """Send one command. Raises SMTPResponseException if the reply is not in the expected hundred."""
        self.write(command)
        return await self.expect(expected)

    async def expect(self, expected: int) -> Reply:
        """The next reply. Raises SMTPResponseException if it is not in the expected hundred (251 is as good as 250)."""
        code, text = await self.reply()
        if code // 100 != expected // 100:
            raise SMTPResponseException(code, text)
        return code, text

    async def reset(self) -> None:
        """End an open transaction: read the replies that it still gets, and send RSET. Raises SMTPServerDisconnected
        for any refusal: without a reset the connection cannot be used."""
        while self._owed or self._replies:
            code, _ = await self.reply()
            if code == GO_AHEAD:  # what comes next would be the message's text
                raise SMTPServerDisconnected("Connection lost")
        try:
            await self.ask(b"RSET\r\n", 250)
        except SMTPResponseException:
            raise SMTPServerDisconnected("Connection lost") from None

    def close(self) -> None:
        """Cut the connection off, as a client's `close` does."""
        self._transport.abort()

    async def quit(self, seconds: float) -> None:
        """Send QUIT, and close. Returns when the connection is closed, which over TLS the server has to answer; after
        `seconds` it is cut off."""
        try:
            with suppress(SMTPException, TimeoutError):
                async with asyncio.timeout(seconds):
                    await self.ask(b"QUIT\r\n", 221)
                    self._transport.close()
                    await self._lost.wait()
        finally:
            self._transport.abort()
            await asyncio.sleep(0)  # in the loop's next turn it is closed

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._unanswered += len(data)
        while self._owed and self._failure is None and (found := self._next_reply()) is not None:
            code, text = found
            self._unanswered = len(self._buffer)
            if code == MALFORMED:
                self._fail(SMTPResponseException(code, text))
            else:
                self._owed -= 1
                self._replies.append((code, text))
        if self._unanswered > LONGEST_REPLY:
            self._fail(SMTPResponseException(MALFORMED, "Response too long"))
        elif self._buffer and not self._owed:
            self._fail(SMTPServerDisconnected("Connection lost"))
        self._wake()

    def eof_received(self) -> bool:
        self._fail(SMTPServerDisconnected("Unexpected EOF received"))
        self._wake()
        return False  # close the transport

    def connection_lost(self, exc: Exception | None) -> None:
        lost = SMTPServerDisconnected("Connection lost")
        lost.__cause__ = exc
        self._fail(lost)
        self._wake()
        self._lost.set()

    def _next_reply(self) -> Reply | None:
        """The first whole reply; None: it has not come yet. A reply may have several lines: each is read once, in
        however many packets they come."""
        end = 0
        try:
            while (at := self._buffer.find(b"\n", end)) >= 0:
                line, end = self._buffer[end : at + 1], at + 1
                if not (line[:3].isdigit() and len(line[:3]) == 3):
                    return MALFORMED, "Malformed SMTP response line"
                self._lines.append(line[4:].strip())
                if line[3:4] != b"-":
                    text = b"\n".join(self._lines).decode("utf-8", "surrogateescape")
                    self._lines = []
                    return int(line[:3]), text
            return None
        finally:
            self._buffer = self._buffer[end:]

    def _fail(self, failure: SMTPException) -> None:
        self._failure = self._failure or failure
        self._buffer, self._lines = b"", []

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
