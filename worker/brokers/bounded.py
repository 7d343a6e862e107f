"""Sockets of brokers whose operations end when the caller wants to end.

The libraries' time-outs are for one read: a broker that sends a byte, or a heartbeat, before each of them ends holds a
thread for hours, and a process with such a thread never ends. And after the half of a frame amqp reads on for ever.
"""

import socket
from collections.abc import Callable
from typing import Any, TypeVar

import redis
from amqp.transport import SSLTransport, TCPTransport
from kombu.transport import pyamqp

GoesOn = Callable[[], bool]
# How often `goes_on` is called while an operation waits.
CHECK_SECONDS = 0.5
# The time-out of an operation without one of its own: amqp gives its own to the kernel, which does not see ours.
SILENT_SECONDS = 10.0
R = TypeVar("R")


class BoundedSocket:
    """A connected socket, plain or with TLS. Its operations raise TimeoutError once `goes_on` returns False."""

    def __init__(self, connection: socket.socket, goes_on: GoesOn) -> None:
        self._connection, self._goes_on = connection, goes_on
        self.settimeout(connection.gettimeout())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def gettimeout(self) -> float | None:
        return self._timeout

    def settimeout(self, seconds: float | None) -> None:
        self._timeout = seconds
        self._connection.settimeout(CHECK_SECONDS if seconds is None else min(seconds, CHECK_SECONDS))

    def recv(self, most: int) -> bytes:
        return self._waiting(self._connection.recv, most)

    def recv_into(self, buffer: Any) -> int:
        return self._waiting(self._connection.recv_into, buffer)

    def sendall(self, content: Any) -> None:
        left = memoryview(content)
        while left:
            left = left[self._waiting(self._connection.send, left) :]

    def _waiting(self, operation: Callable[[Any], R], argument: Any) -> R:
        left = SILENT_SECONDS if self._timeout is None else self._timeout
        while self._goes_on():
            try:
                return operation(argument)
            except TimeoutError:
                left -= CHECK_SECONDS
                if left <= 0:
                    raise
        raise TimeoutError


class _Bounded:
    """A mixin for a transport of amqp."""

    goes_on: GoesOn
    sock: Any

    def _setup_transport(self) -> None:
        super()._setup_transport()  # type: ignore[misc]
        self.sock = BoundedSocket(self.sock, self.goes_on)
        self._quick_recv, self._write = self.sock.recv, self.sock.sendall


class _Plain(_Bounded, TCPTransport):  # type: ignore[misc]
    pass


class _WithTls(_Bounded, SSLTransport):  # type: ignore[misc]
    pass


class AmqpConnection(pyamqp.Connection):
    """kombu's connection to RabbitMQ, with bounded sockets if it gets the option `goes_on`."""

    def __init__(self, *arguments: Any, goes_on: GoesOn | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._goes_on = goes_on

    def Transport(
        self,
        host: str,
        connect_timeout: float,
        ssl: Any = False,
        read_timeout: Any = None,
        write_timeout: Any = None,
        **options: Any,
    ) -> Any:
        options |= {"ssl": ssl, "read_timeout": read_timeout, "write_timeout": write_timeout}
        if self._goes_on is None:
            return super().Transport(host, connect_timeout, **options)
        transport = (_WithTls if ssl else _Plain)(host, connect_timeout, **options)
        transport.goes_on = self._goes_on
        return transport


def bounded(kind: type[redis.Connection], goes_on: GoesOn) -> type[redis.Connection]:
    """The same kind of connections to Redis, with bounded sockets."""

    class Bounded(kind):  # type: ignore[valid-type,misc]
        def _connect(self) -> Any:
            return BoundedSocket(super()._connect(), goes_on)

    return Bounded
