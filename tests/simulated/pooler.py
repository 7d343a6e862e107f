"""A pooler like PgBouncer with `pool_mode = transaction`: each transaction of a client gets another session."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

import sqlalchemy as sa

SESSIONS = 2


@contextmanager
def sharing_sessions(url: str) -> Iterator[str]:
    """A URL of the same database behind a pooler. For servers that ask for no password."""
    given = sa.make_url(url)
    pooler = _Pooler(given.host or "127.0.0.1", given.port or 5432)
    try:
        yield given.set(host="127.0.0.1", port=pooler.port).render_as_string(hide_password=False)
    finally:
        pooler.close()


class _Pooler:
    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._free: list[socket.socket] = []
        self._lock = threading.Condition()
        self._opened: list[socket.socket] = []
        self._greeting = b""
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for sock in (self._listening, *self._opened):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                self._opened.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with closing(client), suppress(OSError, EOFError):
            startup = _startup(client)
            while struct.unpack("!I", startup[4:8])[0] in (80877103, 80877104):  # TLS and GSS are refused
                client.sendall(b"N")
                startup = _startup(client)
            with self._lock:
                while len(self._free) < SESSIONS and not self._greeting:
                    server = socket.create_connection(self._server)
                    self._opened.append(server)
                    server.sendall(startup)
                    greeting = b"".join(_until_ready(server))
                    self._free.append(server)
                    if len(self._free) == SESSIONS:
                        self._greeting = greeting
            client.sendall(self._greeting)
            while True:
                first = _message(client)
                with self._lock:
                    while not self._free:
                        self._lock.wait()
                    server = self._free.pop(0)  # the connection that was idle longest
                try:
                    last = self._transaction(client, server, first)
                finally:
                    with self._lock:
                        self._free.append(server)
                        self._lock.notify()
                # Not before the session is free: the client's next transaction may begin on another connection.
                client.sendall(last)

    @staticmethod
    def _transaction(client: socket.socket, server: socket.socket, message: bytes) -> bytes:
        """Pass on the messages of a transaction. Returns its last answers, which the client does not have yet."""
        copies_in = b""  # the kind of message that began the COPY
        while True:
            if message[:1] == b"X":
                raise EOFError
            server.sendall(message)
            # The server answers these with "ready", and the end of a COPY that a simple query began.
            if message[:1] in (b"Q", b"S") or (message[:1] in (b"c", b"f") and copies_in == b"Q"):
                answers = list(_until_ready(server))
                if answers[-1][:1] == b"Z" and answers[-1][5:6] == b"I":  # no transaction is open
                    return b"".join(answers)
                client.sendall(b"".join(answers))
                copies_in = message[:1] if answers[-1][:1] == b"G" else b""
            message = _message(client)


def _until_ready(server: socket.socket) -> Iterator[bytes]:
    """The server's messages until it is ready, or until it waits for the rows of a COPY."""
    while True:
        message = _message(server)
        yield message
        if message[:1] in (b"Z", b"G"):
            return


def _startup(client: socket.socket) -> bytes:
    size = _exactly(client, 4)
    return size + _exactly(client, struct.unpack("!I", size)[0] - 4)


def _message(end: socket.socket) -> bytes:
    head = _exactly(end, 5)
    return head + _exactly(end, struct.unpack("!I", head[1:])[0] - 4)


def _exactly(end: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        more = end.recv(size - len(found))
        if not more:
            raise EOFError
        found += more
    return found
