"""The mailboxes that bounces are read from: IMAP, or a Maildir on this machine. Blocking."""

import errno
import imaplib
import io
import os
import re
import socket
import ssl
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

from onboarding_worker.core.foundation.clock import monotonic
from onboarding_worker.core.foundation.connection_failures import tls_failure
from onboarding_worker.features.bounces.bounce_mails import LARGEST
from onboarding_worker.settings.addresses import MailServer
from onboarding_worker.settings.deadline import Deadline

SECONDS = 30.0  # for each operation of the connection
# Of one session. No mail is begun to be read after the first time, so that what was read can be removed before the
# second, at which the connection is given up.
READING_SECONDS, ALL_SECONDS = 300.0, 360.0
LONGEST_LINE = 1_000_000
MOST_BYTES = 64 << 20  # of one answer: some servers send a whole mail where its beginning is asked for
_NO_MAIL = frozenset({errno.ENOENT, errno.ELOOP, errno.EISDIR, errno.ENXIO})  # gone, a link, a folder, a socket
_OF_THE_PROCESS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})  # no other mail could be read either


class CannotRead(Exception):
    """The mailbox cannot be read. The text names no value."""


class _Refused(CannotRead):
    """The server answered NO."""


@dataclass(frozen=True, repr=False)
class Mail:
    """A mail that was not read before. `content` is its beginning: at most LARGEST bytes. `unreadable`: why this mail
    alone cannot be read, without a value; its content is empty then."""

    id: str
    content: bytes
    unreadable: str = ""


class Maildir:
    """A folder with `new` and `cur`. A mail system puts mails into `new`; those in `cur` were read."""

    def __init__(self, folder: Path) -> None:
        self._new, self._cur = folder / "new", folder / "cur"
        if not self._new.is_dir():
            raise CannotRead("the folder has no `new`: it is no Maildir, or this user cannot read it")

    def unread(self, *, most: int) -> Iterator[Mail]:
        """At most `most` mails that can be read, and those between them that cannot: these hide no mail behind them."""
        try:
            with os.scandir(self._new) as entries:
                names = sorted(entry.name for entry in entries)
        except OSError as error:
            raise CannotRead(f"the Maildir cannot be read: {error.strerror}") from None
        # What is no mail stays there, and does not count: it must not keep the mails behind it from being read.
        yield from _most((mail for mail in map(self._read, names) if mail is not None), most)

    def _read(self, name: str) -> Mail | None:
        """None: it is no file, or another process has taken it meanwhile."""
        # No link is followed, and no pipe waited for: another program puts files here.
        try:
            descriptor = os.open(self._new / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb", closefd=True) as file:
                return Mail(name, file.read(LARGEST)) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
        except OSError as error:
            if error.errno in _NO_MAIL:
                return None
            if error.errno in _OF_THE_PROCESS:
                raise CannotRead(f"the Maildir cannot be read: {error.strerror}") from None
            return Mail(name, b"", f"it cannot be read: {error.strerror}")

    def remove(self, ids: Iterable[str]) -> None:
        self._change((self._new / name).unlink for name in ids)

    def keep(self, ids: Iterable[str]) -> None:
        """Mark these mails as read: a person may want to see them."""
        read = ((self._new / name, self._cur / f"{name.partition(':')[0]}:2,S") for name in ids)
        self._change(partial(new.rename, cur) for new, cur in read)

    def _change(self, changes: Iterable[Callable[[], object]]) -> None:
        """Make all changes that can be made, then raise the first error: one mail must not stop the others."""
        failed = ""
        for change in changes:
            try:
                change()
            except FileNotFoundError:
                continue  # another process has read it too
            except OSError as error:
                failed = failed or error.strerror or "it failed"
        if failed:
            raise CannotRead(f"the Maildir cannot be changed: {failed}")

    def close(self) -> None:
        """Nothing is open."""


class _Connection(imaplib.IMAP4):
    """Reads MOST_BYTES for one command, and until the deadline. imaplib keeps in memory whatever a server sends, makes
    room for whatever it announces, and waits for as long as bytes come. `context`: TLS from the first byte."""

    left = MOST_BYTES

    def __init__(self, server: MailServer, deadline: Deadline, context: ssl.SSLContext | None) -> None:
        self._deadline, self._context = deadline, context
        self._answers: tuple[socket.socket, io.BufferedReader] | None = None
        super().__init__(server.host, server.port)

    # imaplib's documentation lets a class override these five.

    def open(self, host: str = "", port: int = 143, timeout: float | None = None) -> None:
        self.host, self.port = host, port
        connected = self._deadline.connect(host, port)
        self.sock = self._context.wrap_socket(connected, server_hostname=host) if self._context else connected

    def read(self, size: int) -> bytes:
        self._take(size)
        return self._reader().read(size)

    def readline(self) -> bytes:
        line = self._reader().readline(LONGEST_LINE + 1)
        if len(line) > LONGEST_LINE:
            raise CannotRead(f"the server sends a line of more than {LONGEST_LINE:,} bytes")
        self._take(len(line))
        return line

    def send(self, data: Any) -> None:
        self._deadline.allow(self.sock)
        self.sock.sendall(data)

    def shutdown(self) -> None:
        if self._answers is not None:  # it keeps the connection open
            self._answers[1].close()
        with suppress(OSError):  # the server has closed it
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()

    def _reader(self) -> io.BufferedReader:
        if self._answers is None or self._answers[0] is not self.sock:  # TLS began: earlier bytes are no answers
            self._answers = self.sock, self._deadline.reader(self.sock)
        return self._answers[1]

    def _take(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise CannotRead(f"the server sends more than {MOST_BYTES >> 20} MB as one answer")


class Imap:
    """A mailbox of an IMAP server. Mails are "unread" until this reads them, or a person's mail program does."""

    def __init__(self, server: MailServer, context: ssl.SSLContext | None) -> None:
        self._connection: _Connection | None = None
        self._reads_until = monotonic() + READING_SECONDS
        try:
            deadline = Deadline(ALL_SECONDS, each=SECONDS)
            self._connection = _Connection(server, deadline, context if server.tls == "tls" else None)
            if server.tls == "starttls":
                self._connection.starttls(context)
            password = server.password.reveal() if server.password else ""
            if "AUTH=PLAIN" in self._connection.capabilities:  # takes any characters
                words = f"\0{server.username}\0{password}".encode()
                self._connection.authenticate("PLAIN", lambda _: words)
            elif server.username:
                self._connection.login(server.username, password)
            self._ask("select", '"' + re.sub(r'(["\\])', r"\\\1", server.mailbox) + '"')
        except CannotRead:
            self.close()
            raise
        except (OSError, imaplib.IMAP4.error) as error:
            self.close()
            raise CannotRead(_failure(error, f"{server.host}:{server.port}")) from None

    def unread(self, *, most: int) -> Iterator[Mail]:
        """As of a Maildir. Fewer where the server is slow: the next look reads the others."""
        found = self._ask("uid", "SEARCH", "UNSEEN", "UNDELETED")
        numbers = (found[0] or b"").split() if found else []
        in_time = takewhile(lambda _: monotonic() < self._reads_until, numbers)
        yield from _most((self._read(number.decode("ascii")) for number in in_time if number.isdigit()), most)

    def _read(self, id_: str) -> Mail:
        try:
            parts = self._ask("uid", "FETCH", id_, f"(BODY.PEEK[]<0.{LARGEST}>)")
        except _Refused:
            return Mail(id_, b"", "the server refuses to give it")
        content = next((part[1] for part in parts if isinstance(part, tuple) and len(part) > 1), None)
        return Mail(id_, b"", "the server gives no content of it") if content is None else Mail(id_, content[:LARGEST])

    def remove(self, ids: Sequence[str]) -> None:
        if ids:
            self._ask("uid", "STORE", ",".join(ids), "+FLAGS.SILENT", r"(\Seen \Deleted)")
            if self._connection is not None and "UIDPLUS" in self._connection.capabilities:
                self._ask("uid", "EXPUNGE", ",".join(ids))
            else:
                self._ask("expunge")

    def keep(self, ids: Sequence[str]) -> None:
        if ids:
            self._ask("uid", "STORE", ",".join(ids), "+FLAGS.SILENT", r"(\Seen)")

    def _ask(self, command: str, *arguments: str) -> list[Any]:
        assert self._connection is not None  # noqa: S101 -- for the type checker
        self._connection.left = MOST_BYTES
        try:
            state, answer = getattr(self._connection, command)(*arguments)
        except (OSError, imaplib.IMAP4.error) as error:
            raise CannotRead(_failure(error, f"at {command.upper()}")) from None
        if state != "OK":
            raise _Refused(f"the server refused {command.upper()} {arguments[0] if command == 'uid' else ''}".strip())
        return list(answer)

    def close(self) -> None:
        if self._connection is not None:
            with suppress(OSError, imaplib.IMAP4.error, CannotRead):
                self._connection.logout()
            with suppress(OSError):
                self._connection.shutdown()


Mailbox = Maildir | Imap  # an open one, whose methods all raise CannotRead


def _most(mails: Iterable[Mail], most: int) -> Iterator[Mail]:
    read = 0
    for mail in mails:
        yield mail
        read += not mail.unreadable
        if read == most:
            return


def _failure(error: Exception, where: str) -> str:
    """What failed, without the server's words: they may repeat the user's name."""
    if why := tls_failure(error):
        return f"{where}: {why}"
    if isinstance(error, imaplib.IMAP4.abort):
        return f"{where}: the connection broke"
    if isinstance(error, imaplib.IMAP4.error):
        return f"{where}: refused; see the user and the password in bounces.url"
    return f"{where}: {'timed out' if isinstance(error, TimeoutError) else 'cannot be reached'}"
