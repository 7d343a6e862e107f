"""A database that hangs with its network alive: connections stay open, and nothing comes back any more."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import sqlalchemy as sa


class HangingServer:
    """Stands between a client and PostgreSQL, and forwards until it hangs. It accepts new connections all the time."""

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._flows = threading.Event()
        self._flows.set()
        self._opened: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._start(self._accept)

    def hang(self) -> None:
        self._flows.clear()

    def go_on(self) -> None:
        self._flows.set()

    def close(self) -> None:
        self._flows.set()
        for sock in (self._listening, *self._opened):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    @staticmethod
    def _start(target: Any, *arguments: Any) -> None:
        threading.Thread(target=target, args=arguments, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(self._server)
                self._opened += [client, server]
                self._start(self._forward, client, server)
                self._start(self._forward, server, client)

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self._flows.wait()
                target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)


@contextmanager
def hanging(url: str) -> Iterator[tuple[str, HangingServer]]:
    """A URL of the same database through such a server, and the server."""
    given = sa.make_url(url)
    server = HangingServer(given.host or "127.0.0.1", given.port or 5432)
    try:
        yield given.set(host="127.0.0.1", port=server.port).render_as_string(hide_password=False), server
    finally:
        server.close()
