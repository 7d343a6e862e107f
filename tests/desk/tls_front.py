"""A server in front of another one: it ends TLS as that server would, and passes on what is said inside."""

import contextlib
import select
import socket
import ssl
import threading
from collections.abc import Callable

from tests.suite.waiting import ENDS_WITHIN

GSS_REQUEST, TLS_REQUEST = 80877104, 80877103  # PostgreSQL's, before its own protocol
Opening = Callable[[socket.socket, ssl.SSLContext | None], socket.socket | None]
Speaking = Callable[["Inside"], None]


class Inside:
    """What is said inside of TLS. `heard`: how many bytes the client said; one that checks the name last says none."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.heard = 0

    def recv(self) -> bytes:
        data = self.connection.recv(65536)
        self.heard += len(data)
        return data

    def pending(self) -> int:
        return self.connection.pending() if isinstance(self.connection, ssl.SSLSocket) else 0


class TlsFront:
    """Listens on localhost. `tls` None: it speaks plain text. `inside`: the connections that have TLS."""

    def __init__(self, tls: ssl.SSLContext | None, opening: Opening, speaking: Speaking) -> None:
        self.inside: list[Inside] = []
        self._tls, self._opening, self._speaking = tls, opening, speaking
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._sockets: list[socket.socket] = []
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                taken, _ = self._listener.accept()
                self._sockets.append(taken)
                self._threads.append(threading.Thread(target=self._serve, args=(taken,)))
                self._threads[-1].start()

    def _serve(self, taken: socket.socket) -> None:
        taken.settimeout(10)
        with contextlib.suppress(OSError), taken:
            inside = self._opening(taken, self._tls)
            if inside is not None:
                with inside:
                    self._sockets.append(inside)
                    self.inside.append(Inside(inside))
                    self._speaking(self.inside[-1])

    @property
    def heard(self) -> int:
        return sum(one.heard for one in self.inside)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join(ENDS_WITHIN)
        for one in self._sockets:
            with contextlib.suppress(OSError):
                # That of an SSLSocket would drop its TLS: a thread could then read the client's closing alert as said.
                socket.socket.shutdown(one, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(ENDS_WITHIN)
            assert not thread.is_alive()


def at_once(taken: socket.socket, tls: ssl.SSLContext | None) -> socket.socket | None:
    """TLS from the first byte; without it the server answers as one that does not understand."""
    if tls is not None:
        return tls.wrap_socket(taken, server_side=True)
    taken.recv(4096)
    taken.sendall(b"-ERR what was that\r\n")
    return None


def as_postgresql(taken: socket.socket, tls: ssl.SSLContext | None) -> socket.socket | None:
    """TLS after PostgreSQL's request for it."""
    while request := taken.recv(8):
        code = int.from_bytes(request[4:8])
        if code == TLS_REQUEST and tls is not None:
            taken.sendall(b"S")
            return tls.wrap_socket(taken, server_side=True)
        if code not in (TLS_REQUEST, GSS_REQUEST):
            return None
        taken.sendall(b"N")
    return None


def as_starttls(taken: socket.socket, tls: ssl.SSLContext | None) -> socket.socket | None:
    """TLS after SMTP's STARTTLS."""
    taken.sendall(b"220 relay.test\r\n")
    while line := taken.recv(1024):
        if line.startswith(b"EHLO"):
            taken.sendall(b"250-relay.test\r\n250 STARTTLS\r\n" if tls is not None else b"250 relay.test\r\n")
        elif line.startswith(b"STARTTLS") and tls is not None:
            taken.sendall(b"220 go ahead\r\n")
            return tls.wrap_socket(taken, server_side=True)
        else:
            taken.sendall(b"502 no\r\n")
    return None


def passed_on(host: str, port: int) -> Speaking:
    """Everything is said to this server."""

    def speak(inside: Inside) -> None:
        client = inside.connection
        with socket.create_connection((host, port)) as server:
            while True:
                ready = [client] if inside.pending() else select.select([client, server], [], [], 10)[0]
                for one in ready:
                    data = inside.recv() if one is client else server.recv(65536)
                    if not data:
                        return
                    (server if one is client else client).sendall(data)

    return speak


def smtp(*, greets: bool) -> Speaking:
    """A relay that accepts each command."""

    def speak(inside: Inside) -> None:
        if greets:
            inside.connection.sendall(b"220 relay.test\r\n")
        while said := inside.recv():
            inside.connection.sendall(b"354 go on\r\n" if said.startswith(b"DATA") else b"250 relay.test\r\n")

    return speak


def http(inside: Inside) -> None:
    """A server that answers one request with an empty object."""
    inside.recv()
    inside.connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
