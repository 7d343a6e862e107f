"""Hands a mail over with MAIL, RCPT and DATA in one packet, where the server offers it (RFC 2920, "PIPELINING").

The message itself goes out alone, and only after the server has asked for it: a break before is one before the final
dot, and a break after it leaves the outcome unknown.
"""

import asyncio
from collections import deque

from aiosmtplib import SMTPResponseException, SMTPServerDisconnected

from onboarding_worker.senders.contract import Receipt
from onboarding_worker.senders.email import GO_AHEAD, Connection, Letter, Progress, one_by_one, receipt
from onboarding_worker.senders.mime import Mailbox
from onboarding_worker.senders.smtp_answers import Phase

MALFORMED = -1  # in the place of a code, as aiosmtplib has it


async def pipelined(connection: Connection, to: Mailbox, letter: Letter, progress: Progress) -> Receipt:
    """A `Transact`."""
    if not connection.client.supports_extension("pipelining"):
        return await one_by_one(connection, to, letter, progress)
    progress.phase = Phase.MAIL
    line = _Line(connection)
    try:
        line.write(_commands(to, letter), replies=3)
        await _asked_for(line, progress)
        connection.go_ahead = True
        line.write(letter.body.replace(b"\r\n.", b"\r\n..") + b".\r\n", replies=1)
        code, text = await line.reply()
        if code != 250:
            raise SMTPResponseException(code, text)
        return receipt(text)
    finally:
        line.give_back()


def _commands(to: Mailbox, letter: Letter) -> bytes:
    addresses = (letter.returns_to, to.address)
    if any(not address.isprintable() or set(address) & {"<", ">"} for address in addresses):
        raise ValueError("an address would be another command")
    options = " SMTPUTF8" if to.utf8 else ""
    return f"MAIL FROM:<{letter.returns_to}>{options}\r\nRCPT TO:<{to.address}>\r\nDATA\r\n".encode()


async def _asked_for(line: "_Line", progress: Progress) -> None:
    """Returns when the server has asked for the message. Raises the first refusal, when all replies have come."""
    refused: SMTPResponseException | None = None
    for phase, accepted in ((Phase.MAIL, {250}), (Phase.RCPT, {250, 251}), (Phase.DATA, {354})):
        if refused is None:
            progress.phase = phase
        try:
            code, text = await line.reply()
        except SMTPServerDisconnected:  # as after 421
            raise refused or SMTPServerDisconnected("Connection lost") from None
        if refused is None and code not in accepted:
            refused = SMTPResponseException(code, text)
    if refused is not None:
        raise refused


class _Line(Connection):
    """Stands before a connection during one transaction: reads as many replies as were asked for."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection.client)
        self._owed = 0  # replies that have not come
        self._asked_for = False  # the server waits for the message
        self._replies: deque[tuple[int, str]] = deque()
        self._came = asyncio.Event()

    def write(self, data: bytes, *, replies: int) -> None:
        self._owed += replies
        self._asked_for = False
        self.transport.write(data)

    async def reply(self) -> tuple[int, str]:
        """The next reply's code and text. Raises SMTPServerDisconnected."""
        while not self._replies:
            if self.transport.is_closing():
                raise SMTPServerDisconnected("Connection lost")
            self._came.clear()
            await self._came.wait()
        return self._replies.popleft()

    def give_back(self) -> None:
        """End the transaction. The connection is cut off if a reply is still to come, or if the server waits for a
        message that it refused before."""
        if self._asked_for or self._owed or self._replies:
            self.transport.abort()
        self.transport.set_protocol(self.inner)

    def data_received(self, data: bytes) -> None:
        for lines in self.replies(data):
            self._ended(lines)
        if self.begun and not self._owed:
            self.transport.abort()
        self._came.set()

    def _ended(self, lines: list[bytes]) -> None:
        """A whole reply has come. One that nothing asked for, or that is none, ends the connection."""
        said = lines[-1][:3]
        code = int(said) if said.isdigit() and len(said) == 3 else MALFORMED
        if not self._owed:
            self.transport.abort()
        elif not self.transport.is_closing():
            self._owed -= 1
            self._asked_for = said == GO_AHEAD
            self._replies.append((code, b"\n".join(line[4:].strip() for line in lines).decode(errors="replace")))
            if code == MALFORMED:
                self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._came.set()
