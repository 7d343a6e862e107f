"""Hands invitations to an SMTP relay, over a few kept connections.

The server may have closed a kept connection, and only the next command shows it. So a message that fails on a kept
connection before the server accepted MAIL FROM is tried once more on a new one; nothing was sent yet.
"""

import asyncio
import re
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

from aiosmtplib import SMTPException, SMTPResponseException, SMTPServerDisconnected, SMTPTimeoutError

from worker.domain.model.endings import AddressIs, Kind, Problem
from worker.foundation.connection_failures import tls_failure
from worker.senders.contract import TOO_LATE, MayWrite, Message, NoLookUp, Receipt
from worker.senders.mime import From, Mailbox, compose
from worker.senders.return_path import UNSUBSCRIBE
from worker.senders.smtp_answers import CONNECTING, Phase, broken, refused
from worker.senders.smtp_session import Client, Session

Tls = Literal["plain", "starttls", "tls"]
# Relays close idle connections after half a minute to five minutes. A new connection is cheaper than a failure.
IDLE_SECONDS = 30.0
QUIT_SECONDS = 2.0
PREFLIGHT_SECONDS = 10.0  # the work of a whole process waits for it
QUEUED_AS = re.compile(r"\bqueued as ([A-Za-z0-9._-]{4,64})", re.IGNORECASE)


class _NotOffered(SMTPException):
    """The relay lacks what the configuration asks for."""


@dataclass
class _Connection:
    session: Session
    idle_since: float = 0.0
    reset: bool = False  # a transaction is still open: RSET comes before the next MAIL


@dataclass
class _Progress:
    """How far one hand-over has come, so that a failure names its phase."""

    phase: Phase = Phase.WAIT


@dataclass(frozen=True, repr=False)
class _Letter:
    """What is handed over. `returns_to`: the address that it comes back to. `may_write`: see `send`."""

    body: bytes
    returns_to: str
    may_write: Callable[[bool], bool]


class EmailSender(NoLookUp):
    """The email channel. Lives on one event loop.

    `tls`: "starttls" and "tls" check the certificate and never fall back to plain text. `timeout` bounds a
    whole hand-over, with the wait for one of the `connections`, so that no message leaves after its lease.
    `hold_unknown`: do not repeat a message with an unknown outcome. `login_from` says where
    the log-in comes from, for people: a key of the configuration, an environment variable. `return_path` gives the
    address that the message with this key comes back to; None: the address in `from_`. `unsubscribe`: each mail says
    that a mail to that address asks for no more (`List-Unsubscribe`, RFC 2369). `headers` are more lines of each
    mail's head (`mime.compose`).
    Raises ValueError if `from_` is not an address.
    """

    no_look_up = "a mail relay has no list of the messages that it accepted"

    def __init__(
        self,
        *,
        host: str,
        port: int,
        from_: str,
        tls: Tls = "plain",
        username: str = "",
        password: str = "",
        timeout: timedelta = timedelta(seconds=30),
        connections: int = 4,
        hold_unknown: bool = False,
        tls_context: ssl.SSLContext | None = None,
        login_from: str = "",
        return_path: Callable[[str], str] | None = None,
        unsubscribe: bool = False,
        headers: Sequence[str] = (),
    ) -> None:
        self._host, self._port, self._tls = host, port, tls
        self._username, self._password = username, password
        self._from = From.read(from_)
        self._timeout = timeout.total_seconds()
        self._places = asyncio.Semaphore(connections)
        self._hold_unknown = hold_unknown
        self._tls_context = tls_context or (None if tls == "plain" else ssl.create_default_context())
        self._login_from = login_from
        self._return_path = return_path
        self._headers = tuple(headers)
        self._unsubscribe = unsubscribe and return_path is not None
        self._idle: list[_Connection] = []
        self._closed = False

    def repeatable(self) -> bool:
        """Every repeat carries the same Message-ID, by which mailboxes and mail programs recognise a repeat."""
        return not self._hold_unknown

    async def preflight(self) -> Problem | None:
        """Connect, log in, and keep the connection for the first message."""
        progress, session = _Progress(), None
        try:
            async with asyncio.timeout(min(self._timeout, PREFLIGHT_SECONDS)):
                session = await self._open(progress)
                session.write(b"NOOP\r\n")
                code, text = await session.reply()
                if 400 <= code < 500:  # a server without NOOP has accepted the log-in all the same
                    raise SMTPResponseException(code, text)
        except TimeoutError:
            problem = self._placed(broken(progress.phase, "timed out"), progress.phase)
        except (SMTPException, OSError) as error:
            problem = self._problem(error, progress.phase, (self._username,))
        else:
            if self._closed:
                session.close()
            else:
                self._idle.append(_Connection(session, asyncio.get_running_loop().time()))
            return None
        if session is not None:
            session.close()
        return problem

    async def send(self, message: Message, may_write: MayWrite | None = None) -> Receipt | Problem:
        """Hand the message over. The receipt's reference is the relay's queue id, if the relay names one."""
        to = Mailbox.read(message.to)
        if to is None:
            return Problem(Kind.BAD_INPUT, "the address is not a valid mail address", address=AddressIs.REFUSED)
        returns_to = self._returns_to(message.key)
        more = self._headers
        if self._unsubscribe:
            more = (*more, f"List-Unsubscribe: <mailto:{returns_to}?subject={UNSUBSCRIBE}>")
        body = compose(message, sender=self._from, to=to, more=more)
        progress = _Progress()
        try:
            waited = self._places.locked()
            letter = _Letter(body, returns_to, lambda opened: may_write is None or may_write(waited or opened))
            async with asyncio.timeout(self._timeout), self._places:
                return await self._hand_over(to, letter, progress)
        except TimeoutError:
            return self._placed(broken(progress.phase, "timed out"), progress.phase)

    def _returns_to(self, key: str) -> str:
        return self._from.mailbox.address if self._return_path is None else self._return_path(key)

    async def close(self) -> None:
        """Send QUIT on all idle connections, for two seconds at most. A connection in use ends after its hand-over."""
        self._closed = True
        idle, self._idle = self._idle, []
        await asyncio.gather(*(connection.session.quit(QUIT_SECONDS) for connection in idle))

    async def _hand_over(self, to: Mailbox, letter: _Letter, progress: _Progress) -> Receipt | Problem:
        kept = self._take()
        if kept is not None:
            answer = await self._attempt(kept, to, letter, progress)
            # Many servers end a connection with 421 or 4yz to MAIL after an idle time or a number of messages.
            gone = isinstance(answer, Problem) and answer.kind is Kind.TRANSIENT and progress.phase is Phase.MAIL
            if not gone:
                return answer
        return await self._attempt(None, to, letter, progress)

    async def _attempt(
        self, connection: _Connection | None, to: Mailbox, letter: _Letter, progress: _Progress
    ) -> Receipt | Problem:
        """One try over a kept connection, or a new one. A failure closes the connection."""
        session: Session | None = None
        keep = reset = False
        try:
            session = connection.session if connection else await self._open(progress)
            progress.phase = Phase.MAIL
            if connection and connection.reset:
                await session.reset()
            if not letter.may_write(connection is None):
                keep, progress.phase = True, Phase.WAIT  # nothing was said on the connection: no other one is tried
                return TOO_LATE
            if to.utf8 and not session.utf8:
                keep = True
                why = "the address needs SMTPUTF8, which the relay does not offer"
                return Problem(Kind.BAD_INPUT, why, address=AddressIs.REFUSED)
            receipt = await self._transact(session, to, letter, progress)
            keep = True
        except SMTPResponseException as error:
            # After a refused message the connection can still be used; after 421 or no valid reply it cannot.
            spoken = 400 <= error.code <= 599 and error.code != 421
            keep = spoken and progress.phase in (Phase.RCPT, Phase.DATA, Phase.END)
            reset = progress.phase is not Phase.END
            return self._problem(error, progress.phase, (to.address, self._username), utf8=to.utf8)
        except (SMTPException, OSError) as error:
            return self._problem(error, progress.phase, (to.address, self._username))
        finally:  # also if cancelled: a late reply must not be read as the reply to the next message
            if session is not None and keep and session.is_usable and not self._closed:
                self._idle.append(_Connection(session, asyncio.get_running_loop().time(), reset))
            elif session is not None:
                session.close()
        return receipt

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

    async def _open(self, progress: _Progress) -> Session:
        """A new connection, logged in. A failure closes it."""
        client = self._client()
        try:
            await self._log_in(client, progress)
            return Session(client)
        except BaseException:  # also if cancelled
            client.close()
            raise

    async def _log_in(self, client: Client, progress: _Progress) -> None:
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

    async def _transact(self, session: Session, to: Mailbox, letter: _Letter, progress: _Progress) -> Receipt:
        utf8 = b" SMTPUTF8" if to.utf8 else b""
        steps = (
            (Phase.MAIL, b"MAIL FROM:<" + letter.returns_to.encode() + b">" + utf8 + b"\r\n", 250),
            (Phase.RCPT, b"RCPT TO:<" + to.address.encode() + b">\r\n", 250),
            (Phase.DATA, b"DATA\r\n", 354),
        )
        if session.pipelining:
            session.write(b"".join(command for _, command, _ in steps), replies=len(steps))
        for phase, command, expected in steps:
            progress.phase = phase
            if not session.pipelining:
                session.write(command)
            await session.expect(expected)
        # The message goes out alone, and only after the server asked for it: a break before is one before the final
        # dot, and a break after it leaves the outcome unknown.
        session.write(letter.body.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        progress.phase = Phase.END
        _, text = await session.expect(250)
        queued = QUEUED_AS.search(text)
        return Receipt(queued[1] if queued else "")

    def _client(self) -> Client:
        return Client(
            hostname=self._host,
            port=self._port,
            local_hostname=self._from.mailbox.domain,  # without it, aiosmtplib waits for the resolver
            timeout=None,  # `send` has one time-out for the whole hand-over
            use_tls=self._tls == "tls",
            start_tls=False,  # done here, to know the phase
            tls_context=self._tls_context,
        )

    def _take(self) -> _Connection | None:
        """The idle connection that was used last: it is the likeliest to work. Closes connections that are too old."""
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            if connection.session.is_usable and now - connection.idle_since < IDLE_SECONDS:
                return connection
            connection.session.close()
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
