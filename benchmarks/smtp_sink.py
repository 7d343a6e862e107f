"""A mail server that accepts each message and keeps none: `python -m benchmarks.smtp_sink PORT`.

It answers at once, and counts. The command `XCOUNT` answers
with the number of messages since the last `XCOUNT`.
"""

import asyncio
import sys

GREETING = b"220 sink.example ESMTP\r\n"
HELLO = b"250-sink.example\r\n250 8BITMIME\r\n"
ANSWERS = {b"MAIL": b"250 2.1.0 Ok\r\n", b"RCPT": b"250 2.1.5 Ok\r\n", b"RSET": b"250 Ok\r\n", b"NOOP": b"250 Ok\r\n"}
END = b"\r\n.\r\n"


class Sink(asyncio.Protocol):
    accepted = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)  # noqa: S101 -- for mypy
        self._transport = transport
        self._waiting = b""
        self._in_message = False
        transport.write(GREETING)

    def data_received(self, data: bytes) -> None:
        self._waiting += data
        answers = b""
        while True:
            if self._in_message:
                _, end, rest = self._waiting.partition(END)
                if not end:
                    break
                self._waiting, self._in_message = rest, False
                Sink.accepted += 1
                answers += b"250 2.0.0 Ok: queued as 4XBENCH0000\r\n"
                continue
            line, end, rest = self._waiting.partition(b"\r\n")
            if not end:
                break
            self._waiting = rest
            answers += self._answer(line[:4].upper(), line)
        if answers:
            self._transport.write(answers)

    def _answer(self, verb: bytes, line: bytes) -> bytes:
        if verb == b"DATA":
            self._in_message = True
            self._waiting = b"\r\n" + self._waiting  # so that an empty message has an end too
            return b"354 End data with <CR><LF>.<CR><LF>\r\n"
        if verb in (b"EHLO", b"HELO"):
            return HELLO
        if line.upper() == b"XCOUNT":
            counted, Sink.accepted = Sink.accepted, 0
            return b"250 %d\r\n" % counted
        if verb == b"QUIT":
            return b"221 Bye\r\n"
        return ANSWERS.get(verb, b"500 Unknown\r\n")


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
