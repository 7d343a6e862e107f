"""asyncio 3.11 leaves a socket open that it accepted just before its server closed: `Server._attach` raises.

It would be an error of whatever test runs when the socket is collected.
"""

from asyncio import selector_events
from typing import Any


def close_what_is_not_attached() -> None:
    """From now on, close such a socket at once. For all servers of this process, and for its whole life."""
    transport: Any = selector_events._SelectorTransport  # type: ignore[attr-defined]
    begin = transport.__init__

    def begin_or_close(self: Any, loop: Any, sock: Any, *more: Any, **named: Any) -> None:
        try:
            begin(self, loop, sock, *more, **named)
        except BaseException:
            self._sock = None
            sock.close()
            raise

    transport.__init__ = begin_or_close
