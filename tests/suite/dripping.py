"""A way to a broker that from some time on drips: it sends on and on, a little at a time, never what is waited for."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

REST = 0.02  # seconds between two drops
ENOUGH = 5  # drops after which the client must be reading them
HEARTBEAT = b"\x08\0\0\0\0\0\0\xce"  # of AMQP
# What comes first, and the drops: an answer of Redis and a frame of RabbitMQ that never end, and its heartbeats.
DRIPS = {"redis": (b"$99999999\r\n", b"a"), "amqp": (b"\x01\0\0\x0f\xff\xff\xff", b"a"), "beats": (b"", HEARTBEAT)}


class DrippingBroker:
    def __init__(self, url: str, first: bytes, drop: bytes) -> None:
        """Passes all on to the server of `url`, until `drips` is set. `is_heard` is set when drops have left."""
        given = sa.make_url(url)
        self._server = (given.host, given.port or {"amqp": 5672, "redis": 6379}[given.drivername])
        self._first, self._drop = first, drop
        self.drips, self.is_heard, self._ended = threading.Event(), threading.Event(), threading.Event()
        self._sockets = [socket.create_server(("127.0.0.1", 0))]
        self._threads: list[threading.Thread] = []
        self.url = given.set(host="127.0.0.1", port=self._sockets[0].getsockname()[1]).render_as_string(False)
        self._start(self._accept)

    def _start(self, target: Callable[..., None], *arguments: Any) -> None:
        self._threads.append(threading.Thread(target=target, args=arguments, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while not self._ended.is_set():
                client, _ = self._sockets[0].accept()
                server = socket.create_connection(self._server)
                self._sockets += (client, server)
                is_asked = threading.Event()
                self._start(self._answer, server, client, is_asked)
                self._start(self._ask, client, server, is_asked)

    def _ask(self, client: socket.socket, server: socket.socket, is_asked: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while some := client.recv(1 << 16):
                is_asked.set()
                if not self.drips.is_set():
                    server.sendall(some)
        is_asked.set()

    def _answer(self, server: socket.socket, client: socket.socket, is_asked: threading.Event) -> None:
        is_asked.wait()  # no broker speaks first, and amqp cannot set up a connection that has received something
        with contextlib.suppress(OSError):
            server.settimeout(REST)
            while not self.drips.is_set():
                with contextlib.suppress(TimeoutError):
                    client.sendall(server.recv(1 << 16))
            client.sendall(self._first)
            drops = 0
            while not self._ended.wait(REST):
                client.sendall(self._drop)
                drops += 1
                if drops >= ENOUGH:
                    self.is_heard.set()

    def close(self) -> None:
        self._ended.set()
        self._shut(self._sockets[0])  # first, so that no client comes any more
        self._threads[0].join()
        for one in self._sockets[1:]:
            self._shut(one)
        for thread in self._threads:
            thread.join()

    def _shut(self, one: socket.socket) -> None:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()


@contextmanager
def dripping(url: str, how: str) -> Iterator[DrippingBroker]:
    broker = DrippingBroker(url, *DRIPS[how])
    try:
        yield broker
    finally:
        broker.close()
