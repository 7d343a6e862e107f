"""A mailbox with a real SMTP server, and the faults that real servers have."""

import asyncio
import hmac
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, cast

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from onboarding_sandbox.faults import Draw, SmtpFault, wait_of
from onboarding_sandbox.options import SandboxOptions
from onboarding_sandbox.wire import Log

HOSTNAME = "mail.sandbox.example"
_MESSAGE_ID = re.compile(rb"^message-id:\s*(<[^>\r\n]*>)", re.IGNORECASE | re.MULTILINE)
ACCEPTED = "250 2.0.0 OK"
TEXTS = {
    "450": "4.2.0 Greylisted, try again later",
    "550": "5.1.1 No such user here",
    "551": "5.1.6 User not local",
    "553": "5.1.3 Address not allowed",
    "552": "5.2.2 Mailbox full",
    "554": "5.7.1 Message refused",
}


@dataclass(frozen=True, repr=False)
class Mail:
    """One received message. Its parts are parsed when they are requested, not when the message arrives."""

    n: int  # from 1
    at: datetime  # aware UTC
    sender: str  # of the envelope
    recipients: tuple[str, ...]  # of the envelope
    raw: bytes

    @property
    def message_id(self) -> str | None:
        return _message_id(self.raw.partition(b"\r\n\r\n")[0])

    @property
    def message(self) -> EmailMessage:
        """The parsed message: parsed each time, because kept objects would need far more memory than the mail."""
        return message_from_bytes(self.raw, policy=policy.default)

    @property
    def headers(self) -> dict[str, str]:
        return {name: str(value) for name, value in self.message.items()}

    @property
    def subject(self) -> str:
        return str(self.message.get("Subject", ""))

    @property
    def text(self) -> str | None:
        return _part(self.message, "plain")

    @property
    def html(self) -> str | None:
        return _part(self.message, "html")

    def facts(self) -> dict[str, Any]:
        """The message as JSON. `to` and `from` are the envelope's, which decide the delivery."""
        message = self.message
        envelope = {"n": self.n, "at": self.at.isoformat(), "from": self.sender, "to": list(self.recipients)}
        subject = {"subject": str(message.get("Subject", "")), "message_id": self.message_id}
        headers = {"headers": {name: str(value) for name, value in message.items()}}
        return {**envelope, **subject, **headers, "text": _part(message, "plain"), "html": _part(message, "html")}


def _message_id(head: bytes) -> str | None:
    found = _MESSAGE_ID.search(head)
    return found[1].decode("ascii", "replace") if found else None


def _part(message: EmailMessage, kind: str) -> str | None:
    part = message.get_body((kind,))
    return None if part is None else str(part.get_content())


class Mailbox:
    """All received messages, and the SMTP server that receives them."""

    def __init__(self, options: SandboxOptions, log: Log, *, received: Callable[[Mail], None]) -> None:
        self.messages: list[Mail] = []
        self._received = received
        self._options = options
        self._log = log
        self._draw = Draw("smtp", options.smtp_faults, options.seed)
        self._wait = wait_of("smtp", options.latencies)
        self._refused = {address.lower() for address in options.smtp_refused}
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    def __len__(self) -> int:
        return len(self.messages)

    def __iter__(self) -> Iterator[Mail]:
        return iter(self.messages)

    def __getitem__(self, index: int) -> Mail:
        return self.messages[index]

    def reset(self) -> None:
        self.messages.clear()
        self._draw.restart()

    async def start(self) -> int:
        """Listen; returns the port. Raises OSError if the port is in use."""
        # Its INFO lines name addresses and its DEBUG lines whole messages.
        logging.getLogger("mail.log").setLevel(logging.WARNING)
        auth = self._options.smtp_user is not None
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Connection(self, self._connections, auth=auth), self._options.host, self._options.smtp_port
        )
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop listening and end the connections that clients keep."""
        if self._server is None:
            return
        self._server.close()
        conversations = [connection.conversation for connection in self._connections]
        for connection in list(self._connections):
            connection.drop()
        # Each conversation ends cancelled; none may outlive the sandbox.
        await asyncio.gather(*conversations, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    def authenticate(
        self, server: Any, session: Session, envelope: Envelope, mechanism: str, auth_data: Any
    ) -> AuthResult:
        """aiosmtpd's authenticator."""
        expected = ((self._options.smtp_user or "").encode(), self._options.smtp_password.encode())
        given = (auth_data.login, auth_data.password) if isinstance(auth_data, LoginPassword) else (b"", b"")
        good = all(hmac.compare_digest(one, other) for one, other in zip(given, expected, strict=True))
        if not good:
            self._log.mail(self._options.clock(), 535, fault=None, processed=False, message_id=None, to=None)
        # `handled=False`: aiosmtpd answers 535 itself.
        return AuthResult(success=good, handled=False)

    async def handle_EHLO(
        self, server: "_Connection", session: Session, envelope: Envelope, hostname: str, extensions: list[str]
    ) -> list[str]:
        session.host_name = hostname  # aiosmtpd leaves it to this hook
        return extensions

    async def handle_MAIL(
        self, server: "_Connection", session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self._options.smtp_user is not None and not session.authenticated:
            return "530 5.7.0 Authentication required"
        server.fault = self._draw.next()
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return ACCEPTED

    async def handle_RCPT(
        self, server: "_Connection", session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.lower() in self._refused:
            return self._refuse("550", None, [address], b"")
        if server.fault is not None and server.fault.at == "rcpt":
            return self._refuse(server.fault.kind, server.fault, [address], b"")
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return ACCEPTED

    async def handle_DATA(self, server: "_Connection", session: Session, envelope: Envelope) -> str:
        fault = server.fault
        if self._wait:
            await asyncio.sleep(self._wait)
        content = cast(bytes, envelope.content)
        if fault is not None and fault.at == "data":
            return self._refuse(fault.kind, fault, envelope.rcpt_tos, content)
        now = self._options.clock()
        mail = Mail(len(self.messages) + 1, now, envelope.mail_from or "", tuple(envelope.rcpt_tos), content)
        self.messages.append(mail)
        self.note("dropped" if fault else 250, fault, True, mail.recipients, mail.message_id)
        self._received(mail)
        if fault is not None:  # drop-after: the message is kept, but the sender gets no answer
            server.drop()
            await asyncio.Event().wait()  # until the lost connection cancels this conversation
        return f"{ACCEPTED} accepted as {mail.n}"

    def _refuse(self, code: str, fault: SmtpFault | None, recipients: list[str], raw: bytes) -> str:
        self.note(int(code), fault, False, recipients, _message_id(raw))
        return f"{code} {TEXTS.get(code, code[0] + '.0.0 Refused')}"

    def note(
        self, status: int | str, fault: SmtpFault | None, processed: bool, to: Any, message_id: str | None
    ) -> None:
        """Log a message, or what became of one of its recipients."""
        facts = {"fault": fault and fault.kind, "processed": processed, "message_id": message_id, "to": list(to)}
        self._log.mail(self._options.clock(), status, **facts)


class _Connection(SMTP):
    """One SMTP connection. The fault of a message is drawn at its MAIL command."""

    def __init__(self, mailbox: Mailbox, connections: "set[_Connection]", *, auth: bool) -> None:
        super().__init__(
            mailbox,
            hostname=HOSTNAME,
            ident="sandbox",
            enable_SMTPUTF8=True,
            # AUTH is offered over plain SMTP, if a login is configured: everything here is on one machine.
            auth_require_tls=not auth,
            authenticator=mailbox.authenticate,
            loop=asyncio.get_running_loop(),
        )
        self.fault: SmtpFault | None = None
        self._mailbox = mailbox
        self._connections = connections

    @property
    def conversation(self) -> "asyncio.Task[None]":
        return cast("asyncio.Task[None]", self._handler_coroutine)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._connections.discard(self)
        super().connection_lost(error)

    def drop(self) -> None:
        """Close the connection without an answer."""
        if self.transport is not None:
            cast(asyncio.Transport, self.transport).abort()

    async def smtp_DATA(self, arg: str | None) -> None:
        recipients = [] if self.envelope is None else self.envelope.rcpt_tos
        if self.fault is None or self.fault.kind != "drop-before" or not recipients:
            await super().smtp_DATA(cast(str, arg))
            return
        await self.push("354 End data with <CR><LF>.<CR><LF>")
        await self._reader.readuntil(b"\r\n")
        self._mailbox.note("dropped", self.fault, False, recipients, None)  # it was not complete: nothing was kept
        self.drop()
        await asyncio.Event().wait()  # until the lost connection cancels this conversation
