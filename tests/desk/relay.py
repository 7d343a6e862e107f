"""A way to a server that keeps what its clients send: whatever the server stores or logs, it can only be of this."""

import contextlib
import socket
import threading

import sqlalchemy as sa


class Relay:
    """Listens on a port of its own, and passes all on. Without TLS."""

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._sent: list[bytearray] = []  # by connection
        self._sockets: list[socket.socket] = []
        self.port = 0
        self.listen()

    def listen(self) -> None:
        """After `close` it listens on the same port again."""
        listening = socket.create_server(("127.0.0.1", self.port))
        self.port, self._sockets = listening.getsockname()[1], [listening]
        threading.Thread(target=self._accept, args=(listening,), daemon=True).start()

    @property
    def sent(self) -> list[bytes]:
        """What each connection's client has sent."""
        return [bytes(one) for one in self._sent]

    def close(self) -> None:
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self, listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listening.accept()
                server = socket.create_connection(self._server)
                self._sockets += (client, server)
                self._sent.append(kept := bytearray())
                for way in ((client, server, kept), (server, client, None)):
                    threading.Thread(target=_pass_on, args=way, daemon=True).start()


def _pass_on(source: socket.socket, to: socket.socket, kept: bytearray | None) -> None:
    with contextlib.suppress(OSError):
        while some := source.recv(1 << 16):
            if kept is not None:
                kept += some
            to.sendall(some)
    with contextlib.suppress(OSError):
        to.shutdown(socket.SHUT_WR)


def relay_to(url: str) -> tuple[Relay, str]:
    """A relay to the server of this URL, and the URL through it."""
    given = sa.make_url(url)
    relay = Relay(given.host or "127.0.0.1", given.port or {"amqp": 5672}.get(given.drivername, 5432))
    return relay, given.set(host="127.0.0.1", port=relay.port).render_as_string(hide_password=False)
