"""A kept connection to a mail server, and one message over it. What the server says unasked ends the connection.

A message is MAIL, RCPT, DATA by aiosmtplib's own calls, each when the server has answered the one before. aiosmtplib
reads what comes in one packet with a reply as the reply to the next command. So a 354 and a 250 that come together
would count as an accepted message.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

from aiosmtplib import SMTP, SMTPException, SMTPServerDisconnected

from worker.senders.contract import Receipt
from worker.senders.mime import Mailbox
from worker.senders.smtp_answers import Phase

QUEUED_AS = re.compile(r"\bqueued as ([A-Za-z0-9._-]{4,64})", re.IGNORECASE)
GO_AHEAD = b"354"
LONGEST_REPLY = 64 * 1024  # bytes


class Client(SMTP):
    """aiosmtplib's, whose `close` cuts the connection off. Over TLS the other side would have to answer to it, and a
    loop that ends before the answer fails: libuv's EBUSY."""

    def close(self) -> None:
        if self.transport is not None:
            cast(asyncio.WriteTransport, self.transport).abort()
        super().close()


class Connection(asyncio.Protocol):
    """A client that is logged in, and kept. It stands before the client's protocol: what comes reaches aiosmtplib reply
    by reply, and the connection is cut off at one that nothing asked for."""

    def __init__(self, client: Client) -> None:
        """Raises SMTPServerDisconnected. `client` has no open command."""
        transport = client.transport
        if transport is None or transport.is_closing():
            raise SMTPServerDisconnected("Connection lost")
        self.client = client
        self.idle_since: float | None = None  # None: in use
        self.reset = False  # a transaction is still open: RSET comes before the next MAIL
        self.go_ahead = False  # the server waits for a message: from here its text may have been written
        self.last = b""  # the code of the last reply
        self.transport = cast(asyncio.Transport, transport)  # uvloop's has no class in common with asyncio's
        self.inner = cast(asyncio.Protocol, self.transport.get_protocol())
        self._rest = b""  # the beginning of a line
        self._lines: list[bytes] = []  # of the reply that is being read
        self._unread = 0  # bytes of that reply
        self.begun = False  # whether a part of a reply has come
        self.transport.set_protocol(self)

    def replies(self, data: bytes) -> list[list[bytes]]:
        """The lines of each reply that has come whole with `data`. A reply without an end cuts the connection off."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._unread += len(data)
        if self._unread > LONGEST_REPLY:
            self.transport.abort()
            return []
        found = []
        for line in lines:
            self._lines.append(line)
            if line[3:4] != b"-":
                found.append(self._lines)
                self._lines, self._unread = [], len(self._rest)
        self.begun = bool(self._lines or self._rest)
        return found

    def data_received(self, data: bytes) -> None:
        replies = self.replies(data)
        if self.idle_since is not None or (replies and (len(replies) > 1 or self.begun)):
            self.transport.abort()
        elif replies:  # the whole reply at once: aiosmtplib reads all that it has again for each packet
            self.last = replies[0][-1][:3]
            self.go_ahead = self.go_ahead or self.last == GO_AHEAD
            self.inner.data_received(b"\n".join([*replies[0], b""]))

    def eof_received(self) -> bool | None:
        return self.inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self.inner.connection_lost(exc)

    def pause_writing(self) -> None:
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        self.inner.resume_writing()

    async def quit(self, seconds: float) -> None:
        """Send QUIT, wait for the answer so many seconds, and cut the connection off."""
        self.idle_since = None
        with suppress(SMTPException, TimeoutError):
            async with asyncio.timeout(seconds):
                await self.client.quit()
        self.client.close()
        await asyncio.sleep(0)  # in the loop's next turn it is closed


@dataclass
class Progress:
    """How far one hand-over has come, so that a failure names its phase."""

    phase: Phase = Phase.WAIT
    connection: Connection | None = None

    @property
    def at(self) -> Phase:
        """The phase. A message that the server has asked for may have been written to its end."""
        asked = self.phase is Phase.DATA and self.connection is not None and self.connection.go_ahead
        return Phase.END if asked else self.phase


@dataclass(frozen=True, repr=False)
class Letter:
    """What is handed over. `returns_to`: the address that it comes back to. `may_write`: see `EmailSender.send`."""

    body: bytes
    returns_to: str
    may_write: Callable[[bool], bool]


# Hands a letter over, and notes its progress. Raises aiosmtplib's SMTPException. The connection can be used again after
# a refusal to RCPT or DATA, or is closed.
Transact = Callable[[Connection, Mailbox, Letter, Progress], Awaitable[Receipt]]


async def one_by_one(connection: Connection, to: Mailbox, letter: Letter, progress: Progress) -> Receipt:
    """The usual `Transact`."""
    client, progress.phase = connection.client, Phase.MAIL
    await client.mail(letter.returns_to, options=["SMTPUTF8"] if to.utf8 else [], encoding="utf-8")
    progress.phase = Phase.RCPT
    await client.rcpt(to.address, encoding="utf-8")
    progress.phase = Phase.DATA
    reply = await client.data(letter.body)
    if connection.last != str(reply.code).encode():  # more came before the log-in was over: this is an earlier reply
        raise SMTPServerDisconnected("Connection lost")
    return receipt(reply.message)


def receipt(text: str) -> Receipt:
    """The receipt of the reply with this text: with the relay's queue id, if it names one."""
    queued = QUEUED_AS.search(text)
    return Receipt(queued[1] if queued else "")
