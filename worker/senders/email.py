"""Hands invitations to an SMTP relay, over a few kept connections.

The server may have closed a kept connection, and only the next command shows it. So a message that fails on a kept
connection before the server accepted MAIL FROM is tried once more on a new one; nothing was sent yet. What the server
says unasked ends a connection.

A message is MAIL, RCPT, DATA by aiosmtplib's own calls, each when the server has answered the one before. aiosmtplib
reads what comes in one packet with a reply as the reply to the next command. So a 354 and a 250 that come together
would count as an accepted message.
"""

import asyncio
import re
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from types import MappingProxyType
from typing import Literal, cast

from aiosmtplib import SMTP, SMTPException, SMTPResponseException, SMTPServerDisconnected, SMTPTimeoutError

from onboarding_worker.core.foundation.connection_failures import tls_failure
from onboarding_worker.core.model.endings import AddressIs, Kind, Problem
from onboarding_worker.senders.contract import TOO_LATE, MayWrite, Message, NoLookUp, Receipt, Returning
from onboarding_worker.senders.mime import From, Mailbox, compose
from onboarding_worker.senders.smtp_answers import CONNECTING, Phase, broken, refused

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


async def hand_over(connection: Connection, to: Mailbox, letter: Letter, progress: Progress) -> Receipt:
    """Hand a letter over, and note its progress. Raises aiosmtplib's SMTPException. The connection can be used again
    after a refusal to RCPT or DATA, or is closed."""
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


Tls = Literal["plain", "starttls", "tls"]
# Relays close idle connections after half a minute to five minutes. A new connection is cheaper than a failure.
IDLE_SECONDS = 30.0
QUIT_SECONDS = 2.0
PREFLIGHT_SECONDS = 10.0  # the work of a whole process waits for it


class _NotOffered(SMTPException):
    """The relay lacks what the configuration asks for."""


class EmailSender(NoLookUp):
    """The email channel. Lives on one event loop.

    `tls`: "starttls" and "tls" check the certificate and never fall back to plain text. `timeout` bounds a
    whole hand-over, with the wait for one of the `connections`, so that no message leaves after its lease.
    `hold_unknown`: do not repeat a message with an unknown outcome. `login_from` says where
    the log-in comes from, for people: a key of the configuration, an environment variable. `returning` says how
    a report of the message with this key finds its way back. `brands`: by brand, `from_` and `reply_to` of its
    messages. Raises ValueError if one of them is not an address.
    """

    no_look_up = "a mail relay has no list of the messages that it accepted"

    def __init__(
        self,
        *,
        host: str,
        port: int,
        from_: str,
        reply_to: str = "",
        brands: Mapping[str, tuple[str, str]] = MappingProxyType({}),
        tls: Tls = "plain",
        username: str = "",
        password: str = "",
        timeout: timedelta = timedelta(seconds=30),
        connections: int = 4,
        hold_unknown: bool = False,
        tls_context: ssl.SSLContext | None = None,
        login_from: str = "",
        returning: Callable[[str], Returning] | None = None,
    ) -> None:
        self._host, self._port, self._tls = host, port, tls
        self._username, self._password = username, password
        every = {**brands, "": (from_, reply_to)}
        self._from = {brand: From.read(sender, reply_to=answers) for brand, (sender, answers) in every.items()}
        self._timeout = timeout.total_seconds()
        self._places = asyncio.Semaphore(connections)
        self._hold_unknown = hold_unknown
        self._tls_context = tls_context or (None if tls == "plain" else ssl.create_default_context())
        self._login_from = login_from
        self._returning = returning or (lambda _key: Returning())
        self._idle: list[Connection] = []
        self._closed = False

    def repeatable(self) -> bool:
        """Every repeat carries the same Message-ID, by which mailboxes and mail programs recognise a repeat."""
        return not self._hold_unknown

    async def preflight(self) -> Problem | None:
        """Connect, log in, and keep the connection for the first message."""
        progress, connection = Progress(), None
        try:
            async with asyncio.timeout(min(self._timeout, PREFLIGHT_SECONDS)):
                connection = await self._open(progress)
                reply = await connection.client.execute_command(b"NOOP")
                if 400 <= reply.code < 500:  # a server without NOOP has accepted the log-in all the same
                    raise SMTPResponseException(reply.code, reply.message)
        except TimeoutError:
            problem = self._placed(broken(progress.phase, "timed out"), progress.phase)
        except (SMTPException, OSError) as error:
            problem = self._problem(error, progress.phase, (self._username,))
        else:
            self._keep(connection)
            return None
        if connection is not None:
            connection.client.close()
        return problem

    async def send(self, message: Message, may_write: MayWrite | None = None) -> Receipt | Problem:
        """Hand the message over. The receipt's reference is the relay's queue id, if the relay names one."""
        to = Mailbox.read(message.to)
        if to is None:
            return Problem(Kind.BAD_INPUT, "the address is not a valid mail address", address=AddressIs.REFUSED)
        sender = self._from[message.brand]
        returning = self._returning(message.key)
        body = compose(message, sender=sender, to=to, more=returning.headers)
        progress = Progress()
        waited = self._places.locked()
        returns_to = returning.address or sender.mailbox.address
        letter = Letter(body, returns_to, lambda opened: may_write is None or may_write(waited or opened))
        try:
            async with asyncio.timeout(self._timeout), self._places:
                if (kept := self._take()) is not None:
                    answer = await self._attempt(kept, to, letter, progress)
                    # Many servers end a connection with 421 or 4yz to MAIL after an idle time or a number of messages.
                    gone = isinstance(answer, Problem) and answer.kind is Kind.TRANSIENT
                    if not gone or progress.phase is not Phase.MAIL:
                        return answer
                return await self._attempt(None, to, letter, progress)
        except TimeoutError:
            return self._placed(broken(progress.at, "timed out"), progress.at)

    async def close(self) -> None:
        """Send QUIT on all idle connections, for two seconds at most. A connection in use ends after its hand-over."""
        self._closed = True
        idle, self._idle = self._idle, []
        await asyncio.gather(*(connection.quit(QUIT_SECONDS) for connection in idle))

    async def _attempt(
        self, kept: Connection | None, to: Mailbox, letter: Letter, progress: Progress
    ) -> Receipt | Problem:
        """One try over a kept connection, or a new one. A failure closes the connection."""
        connection = kept
        keep = False
        try:
            connection = progress.connection = kept or await self._open(progress)
            client, connection.go_ahead, progress.phase = connection.client, False, Phase.MAIL
            if connection.reset:
                try:
                    await client.rset()
                except SMTPResponseException:  # without a reset the connection cannot be used
                    raise SMTPServerDisconnected("Connection lost") from None
                connection.reset = False
            if not letter.may_write(kept is None):
                keep, progress.phase = True, Phase.WAIT  # nothing was said on the connection: no other one is tried
                return TOO_LATE
            if to.utf8 and not client.supports_extension("smtputf8"):
                keep = True
                why = "the address needs SMTPUTF8, which the relay does not offer"
                return Problem(Kind.BAD_INPUT, why, address=AddressIs.REFUSED)
            receipt = await hand_over(connection, to, letter, progress)
            keep = True
        except SMTPResponseException as error:
            # After a refused message the connection can still be used; after 421 or no valid reply it cannot.
            spoken = 400 <= error.code <= 599 and error.code != 421
            keep = spoken and progress.phase in (Phase.RCPT, Phase.DATA)
            if connection is not None:
                connection.reset = progress.at is not Phase.END
            return self._problem(error, progress.at, (to.address, self._username), utf8=to.utf8)
        except (SMTPException, OSError) as error:
            return self._problem(error, progress.at, (to.address, self._username))
        finally:  # also if cancelled: a late reply must not be read as the reply to the next message
            if connection is not None and keep:
                self._keep(connection)
            elif connection is not None:
                connection.client.close()
        return receipt

    def _keep(self, connection: Connection) -> None:
        if connection.client.is_connected and not self._closed:
            connection.idle_since = asyncio.get_running_loop().time()
            self._idle.append(connection)
        else:
            connection.client.close()

    def _problem(
        self, error: SMTPException | OSError, phase: Phase, personal: tuple[str, ...], *, utf8: bool = False
    ) -> Problem:
        """The Problem of a failure in this phase. Its detail shows none of the `personal` values."""
        if isinstance(error, SMTPResponseException):
            problem = refused(phase, error.code, error.message, personal=personal, utf8=utf8)
        elif isinstance(error, _NotOffered):
            problem = Problem(Kind.AUTH, f"SMTP {error.message} at {phase.value}")
        else:
            problem = broken(phase, _failure(error))
        return self._placed(problem, phase)

    def _placed(self, problem: Problem, phase: Phase) -> Problem:
        """The Problem with the server, and with what to correct, if it is about the server and not about a message."""
        if phase not in CONNECTING:
            return problem
        login = phase is Phase.AUTH and problem.kind is Kind.AUTH and self._login_from
        correct = f"; correct the user or the password in {self._login_from}" if login else ""
        return replace(problem, detail=f"{self._host}:{self._port}: {problem.detail}{correct}")

    async def _open(self, progress: Progress) -> Connection:
        """A new connection, logged in. A failure closes it."""
        client = Client(
            hostname=self._host,
            port=self._port,
            local_hostname=self._from[""].domain,  # without it, aiosmtplib waits for the resolver
            timeout=None,  # `send` has one time-out for the whole hand-over
            use_tls=self._tls == "tls",
            start_tls=False,  # done here, to know the phase
            tls_context=self._tls_context,
        )
        try:
            progress.phase = Phase.CONNECT
            try:
                await client.connect()
            except SMTPResponseException:
                progress.phase = Phase.GREETING
                raise
            progress.phase = Phase.GREETING
            await client.ehlo()
            if self._tls == "starttls":
                progress.phase = Phase.TLS
                if not client.supports_extension("starttls"):
                    raise _NotOffered("the relay does not offer STARTTLS")
                await client.starttls()
                await client.ehlo()
            if self._username:
                progress.phase = Phase.AUTH
                if not client.supported_auth_methods:
                    raise _NotOffered("the relay offers no supported log-in")
                await client.login(self._username, self._password)
            return Connection(client)
        except BaseException:  # also if cancelled
            client.close()
            raise

    def _take(self) -> Connection | None:
        """The idle connection that was used last: it is the likeliest to work. Closes connections that are too old."""
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            since, connection.idle_since = connection.idle_since or 0.0, None
            if connection.client.is_connected and now - since < IDLE_SECONDS:
                return connection
            connection.client.close()
        return None


def _failure(error: SMTPException | OSError) -> str:
    """The failure's name; never its text, which may contain a host or an address."""
    cause = error.__cause__ or error
    if why := tls_failure(cause):
        return why
    if isinstance(cause, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, (SMTPTimeoutError, TimeoutError)):
        return "timed out"
    if isinstance(error, SMTPServerDisconnected):
        return "connection lost"
    return f"connection failed ({type(cause).__name__})"
