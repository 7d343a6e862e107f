"""A bound for a whole conversation over a blocking socket.

A socket's own time-out is for one operation: a server that sends a byte before each of them ends holds a caller for
hours.
"""

import io
import socket
from typing import Any

from onboarding_worker.core.foundation.clock import monotonic


class Deadline:
    """When a conversation ends that begins now. `each`: the longest time for one operation, in seconds."""

    def __init__(self, seconds: float, *, each: float) -> None:
        self._until, self._each = monotonic() + seconds, each

    def left(self) -> float:
        """Seconds for the next operation. Raises TimeoutError where none are left."""
        left = self._until - monotonic()
        if left <= 0:
            raise TimeoutError
        return min(left, self._each)

    def connect(self, host: str, port: int) -> socket.socket:
        """A connection to the first of the host's addresses that answers. Raises OSError."""
        # Not `socket.create_connection`: it gives each address the whole time.
        failure: OSError | None = None
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            connection = socket.socket(family, kind, protocol)
            try:
                self.allow(connection)
                connection.connect(address)
            except OSError as error:
                connection.close()
                failure = error
            else:
                return connection
        raise failure or OSError("the host has no address")

    def allow(self, connection: socket.socket) -> None:
        """Bound the connection's next operation. Raises TimeoutError."""
        connection.settimeout(self.left())

    def reader(self, connection: socket.socket) -> io.BufferedReader:
        """Reads the connection, as its own `makefile` does. Raises TimeoutError."""
        return io.BufferedReader(_Reads(connection, self))


class _Reads(io.RawIOBase):
    def __init__(self, connection: socket.socket, deadline: Deadline) -> None:
        super().__init__()
        self._connection, self._deadline = connection, deadline
        self._raw = connection.makefile("rb", buffering=0)  # keeps the connection open until it is closed itself

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int | None:
        self._deadline.allow(self._connection)
        return self._raw.readinto(into)

    def close(self) -> None:
        self._raw.close()
        super().close()
