"""Files that a person gives or gets: a form with one file, bounded in size and time, and a download. Neither is ever
whole in memory."""

import asyncio
from collections.abc import Callable
from pathlib import PurePosixPath, PureWindowsPath
from urllib.parse import quote

from aiohttp import BodyPartReader, web

from onboarding_worker.core.foundation.notation import plain
from onboarding_worker.features.dashboard.contract import File, Refused, Sink
from onboarding_worker.web.events.request_body import BROKEN_OFF, Unacceptable, check_not_compressed
from onboarding_worker.web.problems import PAGE_HEADERS
from onboarding_worker.web.turns import InThread

CHUNK = 512 * 1024
IDLE_SECONDS = 30.0
LONGEST_SECONDS = 900.0  # for a whole file
LONGEST_NAME, LONGEST_TOKEN = 120, 200
AT_ONCE = 3  # files that come: each has a thread of the site now and then
_coming = asyncio.Semaphore(AT_ONCE)

Begin = Callable[[str, str], Sink]


async def receive(request: web.Request, begin: Begin, in_thread: InThread, *, most: int) -> str:
    """Take the file of a form whose first field is `token`; returns the page that comes next. `begin` gets the token
    and the file's name. Raises Unacceptable, and what `begin` raises."""
    check_not_compressed(request)
    if request.content_length is not None and request.content_length > most + CHUNK:
        raise Unacceptable(413, _too_large(most))
    if _coming.locked():
        raise Unacceptable(503, "other files are coming now; try again in a minute")
    try:
        async with _coming, asyncio.timeout(LONGEST_SECONDS):
            return await _received(request, begin, in_thread, most=most)
    except TimeoutError:
        raise Unacceptable(408, "the file did not come in time") from None
    except (*BROKEN_OFF, ValueError, AssertionError):  # of aiohttp, for a body that is no such form
        raise Unacceptable(400, "the form is broken") from None


async def _received(request: web.Request, begin: Begin, in_thread: InThread, *, most: int) -> str:
    reader = await request.multipart()
    token = await reader.next()
    if not isinstance(token, BodyPartReader) or token.name != "token":
        raise Unacceptable(400, "the form is broken")
    given = bytes(await _chunk(token, LONGEST_TOKEN)).decode("utf-8", "replace")
    file = await reader.next()
    if not isinstance(file, BodyPartReader) or file.name != "file" or not file.filename:
        raise Refused("Choose a file first.")
    sink: Sink = await in_thread(begin, given, named(file.filename))
    size, pending = 0, bytearray()
    try:
        while part := await _chunk(file, CHUNK):
            size += len(part)
            if size > most:
                raise Unacceptable(413, _too_large(most))
            pending += part
            if len(pending) >= CHUNK:
                await in_thread(sink.add, bytes(pending[:CHUNK]))
                del pending[:CHUNK]
        if not size:
            raise Refused("The file is empty.")
        if pending:
            await in_thread(sink.add, bytes(pending))
        there: str = await in_thread(sink.end)
    except BaseException:
        await asyncio.shield(in_thread(sink.give_up))
        raise
    return there


async def _chunk(part: BodyPartReader, most: int) -> bytes:
    async with asyncio.timeout(IDLE_SECONDS):
        return await part.read_chunk(most)


def _too_large(most: int) -> str:
    return f"the file has more than {most >> 20} MiB; send larger lists with `onboard run`"


def named(given: str) -> str:
    """A file's name as its sender gives it, without folders and what cannot be shown."""
    last = PurePosixPath(PureWindowsPath(given).name).name
    return plain(last, most=LONGEST_NAME) or "list"


async def send(request: web.Request, file: File, in_thread: InThread) -> web.StreamResponse:
    """Give the file to be kept, never to be shown as a page."""
    plain_name = "".join(one if one.isascii() and (one.isalnum() or one in "-_.") else "_" for one in file.name)
    disposition = f"attachment; filename=\"{plain_name}\"; filename*=UTF-8''{quote(file.name, safe='')}"
    answer = web.StreamResponse(headers=PAGE_HEADERS | {"Content-Disposition": disposition})
    answer.content_type = file.kind
    try:
        await answer.prepare(request)
        while content := await in_thread(file.body.read, CHUNK):
            await answer.write(content)
        await answer.write_eof()
    finally:
        file.body.close()  # at once: nothing waits here when the process ends
    return answer
