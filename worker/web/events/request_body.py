"""Reads an event or a form from an HTTP request, bounded in size and in time, and the `Prefer` header (RFC 7240), of
which only `wait` is read."""

import asyncio
import re
from collections.abc import Sequence
from urllib.parse import parse_qsl, unquote

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from onboarding_worker.events.cloudevents import LARGEST, LARGEST_LIST, is_json, is_list
from onboarding_worker.lists.traces import TRACEPARENT
from onboarding_worker.web.problems import Refused, problem

BODY_SECONDS = 10.0  # for the whole body: a slow sender must not hold a connection
# Nearly all bodies are smaller than FREE. ROOM is the memory for the rest of larger bodies, of all senders together.
FREE, ROOM = 64 * 1024, 64 * 1024 * 1024
# The sender hung up in the middle, or sent a wrong length, or headers that are none. It is no bug, and often no client
# reads the answer.
BROKEN_OFF = (ConnectionError, HttpProcessingError, web.RequestPayloadError)
TWICE = "a header that shows whose the request is comes twice"
_PREFIX = "ce-"
# What says whose a request is. Of two headers of one name, one program believes the first and another the last.
_CREDENTIAL = re.compile(r"authorization|content-type|.*-signature|(?:idenfy|webhook)-.*", re.IGNORECASE)

LONGEST_WAIT = 10  # seconds
_WAIT = re.compile(r'\s*wait\s*=\s*(?:"([0-9]{1,9})"|([0-9]{1,9}))\s*(?:;.*)?', re.IGNORECASE)


class Unacceptable(Refused):
    """The request cannot be read, and the rest of its body is not. `status` is the answer's; `args[0]` is the reason,
    without values of the request. `retry_after`: in seconds, of a 503."""

    def __init__(self, status: int, reason: str, *, retry_after: float | None = None) -> None:
        super().__init__(problem(status, reason, retry_after=retry_after), reason)
        self.answer.force_close()
        self.status = status


def attributes(request: web.Request) -> dict[str, str]:
    """The CloudEvents attributes in the headers, by their names without the prefix. Raises Unacceptable."""
    found: dict[str, str] = {}
    for header, value in request.headers.items():
        name = header.lower()
        if not name.startswith(_PREFIX):
            continue
        if name.removeprefix(_PREFIX) in found:
            raise Unacceptable(400, "a ce- header comes twice")
        # Percent-encoded, as CloudEvents requires for HTTP. Text that is not UTF-8 is refused by the validation.
        found[name.removeprefix(_PREFIX)] = unquote(value, errors="surrogateescape")
    return found


def traceparent(request: web.Request) -> str | None:
    """The request's header `traceparent`, unchecked; None where it has none, or several."""
    found = request.headers.getall(TRACEPARENT, [])
    return found[0] if len(found) == 1 else None


def has_credentials_twice(request: web.Request) -> bool:
    """True if a header that shows whose the request is comes twice."""
    # Over `items`: without it a mapping of headers names each only once.
    names = [header.lower() for header, _ in request.headers.items() if _CREDENTIAL.fullmatch(header)]
    return len(set(names)) < len(names)


def check_before_the_body(request: web.Request) -> None:
    """Raises Unacceptable where the headers alone are a reason to refuse."""
    content_type = request.headers.get("Content-Type", "")
    if not is_json(content_type) and not is_list(content_type):
        raise Unacceptable(
            415,
            "the Content-Type is none of application/cloudevents+json, application/cloudevents-batch+json and"
            " application/json",
        )
    check_not_compressed(request)
    largest = LARGEST_LIST if is_list(content_type) else LARGEST
    if request.content_length is not None and request.content_length > largest:
        raise Unacceptable(413, f"it has more than {largest:,} bytes")


def check_not_compressed(request: web.Request) -> None:
    """Raises Unacceptable for a compressed body. Each of several headers counts: servers differ in which of them they
    use."""
    if any(one.strip().lower() != "identity" for one in request.headers.getall("Content-Encoding", [])):
        raise Unacceptable(415, "the body is compressed; send it as it is")


class Room:
    """Bounds the bytes of large bodies held at the same time: an unknown sender must not fill the memory."""

    def __init__(self, bytes_: int, *, free: int = FREE, retry_after: float | None = None) -> None:
        """The first `free` bytes of each body do not count, so that large bodies never keep a small one out.
        `retry_after`: how many seconds later a body may come again for which there is no room."""
        self._left = bytes_
        self.free, self.retry_after = free, retry_after

    def take(self, count: int) -> bool:
        if count > self._left:
            return False
        self._left -= count
        return True

    def give_back(self, count: int) -> None:
        self._left += count


OF_ONE = Room(0, free=LARGEST)  # for a body that is no larger than one event: it needs no room


async def bounded_body(request: web.Request, room: Room, *, largest: int, seconds: float) -> bytes:
    """All of the body. Raises Unacceptable where it is too large or too slow, or its sender hangs up or sends a wrong
    length; with 503 where there is no room for it.

    It does not use `request.read`, whose bound is that of the application that this one may be mounted in.
    """
    taken = 0
    read = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for part in request.content.iter_any():
                read += part
                if len(read) > largest:
                    raise Unacceptable(413, f"it has more than {largest:,} bytes")
                more = len(read) - room.free - taken
                if more > 0:
                    if not room.take(more):
                        why = "too much is being sent at the same time"
                        raise Unacceptable(503, why, retry_after=room.retry_after)
                    taken += more
    except TimeoutError:
        raise Unacceptable(408, f"the body did not come within {seconds:g} seconds") from None
    except BROKEN_OFF:
        raise Unacceptable(400, "the body broke off") from None
    finally:
        room.give_back(taken)
    return bytes(read)


def preferred_wait(headers: Sequence[str]) -> int:
    """For how many seconds the caller would wait, at most LONGEST_WAIT; 0 without such a header. The first of several
    counts. A header that cannot be read is no preference, as the RFC requires."""
    for preference in ",".join(headers).split(","):
        found = _WAIT.fullmatch(preference)
        if found:
            return min(int(found[1] or found[2]), LONGEST_WAIT)
    return 0


LARGEST_FORM = 64 * 1024  # bytes
FORM = "application/x-www-form-urlencoded"


async def form_of(request: web.Request, *, seconds: float) -> dict[str, str]:
    """Its fields. Raises Unacceptable. Files and fields that come twice are in none of our forms."""
    # aiohttp's `content_type` reads the parameters too: a quote and 8,000 semicolons keep the loop for 0.1 s.
    if request.headers.get("Content-Type", "").partition(";")[0].strip().lower() != FORM:
        raise Unacceptable(415, "it is no form")
    check_not_compressed(request)
    body = await bounded_body(request, OF_ONE, largest=LARGEST_FORM, seconds=seconds)
    try:
        fields = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=50)
    except ValueError:
        raise Unacceptable(400, "the form cannot be read") from None
    if len({name for name, _ in fields}) < len(fields):
        raise Unacceptable(400, "a field comes twice")
    return dict(fields)
