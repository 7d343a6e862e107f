"""Answers iDenfy's token call at once, in Python, if there is no nginx: `python -m benchmarks.stub PORT`.

It uses a whole core if callers are fast, and then limits the benchmark itself: see `provider`.
"""

import asyncio
import sys
from itertools import count
from typing import cast

BODY = '{"message":"Token created successfully","authToken":"%s","scanRef":"%s","expiryTime":604800,"isValid":true}'
LINE = "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"

requests = count(1)


class Stub(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            start = head.find(b"content-length:")
            length = int(head[start + 15 :].split(b"\r\n", 1)[0]) if start >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            self._buffer = self._buffer[end + 4 + length :]
            self._transport.write(answer(head).encode())


def answer(head: bytes) -> str:
    """The whole answer to a request; the page of counts has the form of nginx's status page."""
    number = next(requests)
    if head.startswith(b"get /status"):
        status, body = "200 OK", f"server accepts handled requests\n {number} {number} {number} \n"
    elif head.startswith(b"post /api/v2/token "):
        status, body = "201 Created", BODY % (f"{number:032x}", f"{number:032x}")
    else:
        status, body = "404 Not Found", "{}"
    return LINE % (status, len(body), body)


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Stub, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
