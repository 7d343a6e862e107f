"""The web application behind the product's own server, in a thread, for tests that write their requests by hand."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from unittest import mock

from onboarding_worker.http.event_loop import new_event_loop
from onboarding_worker.web import server, strangers
from onboarding_worker.web.server import listening
from tests.suite.waiting import ENDS_WITHIN
from tests.web.site import Site


async def at_once(_seconds: float) -> None:
    """Answers to refused keys wait for seconds, which tests/web/test_refusals.py tests."""


@contextmanager
def served(site: Site) -> Iterator[int]:
    """The port that it listens on until the block ends."""
    loop, ending, port = new_event_loop(), asyncio.Event(), Future[int]()

    async def serve() -> None:
        try:
            async with listening(site.app, host="127.0.0.1", port=0) as listens_on:
                port.set_result(listens_on)
                await ending.wait()
        except Exception as error:
            if not port.done():
                port.set_exception(error)
            raise
        finally:
            site.parts.close()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), name="server")
    try:
        with mock.patch.object(strangers, "wait", at_once), mock.patch.object(server, "LINGERING_SECONDS", 0.05):
            thread.start()
            yield port.result(ENDS_WITHIN)
    finally:
        loop.call_soon_threadsafe(ending.set)
        thread.join(ENDS_WITHIN)
        loop.close()


def say(port: int, *parts: bytes, closes: bool = False) -> bytes:
    """What is answered to these bytes, to the end of the connection. `closes`: our side says that it is done."""
    with socket.create_connection(("127.0.0.1", port), timeout=ENDS_WITHIN) as connection:
        for part in parts:
            try:
                connection.sendall(part)
            except ConnectionError:
                break  # refused already; the answer may be there
        if closes:
            connection.shutdown(socket.SHUT_WR)
        answer = bytearray()
        while True:
            try:
                got = connection.recv(65536)
            except ConnectionError:
                break
            if not got:
                break
            answer += got
    return bytes(answer)
