"""One message over a connection: MAIL, RCPT, DATA, each when the server has answered the one before."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiosmtplib import SMTPServerDisconnected

from worker.senders.contract import Receipt
from worker.senders.mime import Mailbox
from worker.senders.smtp_answers import Phase
from worker.senders.smtp_connection import Connection

QUEUED_AS = re.compile(r"\bqueued as ([A-Za-z0-9._-]{4,64})", re.IGNORECASE)


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
    """The usual `Transact`: aiosmtplib's own calls."""
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
