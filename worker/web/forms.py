"""Reads a form, bounded in size and in time, before it is known whose it is."""

from urllib.parse import parse_qsl

from aiohttp import web

from worker.web.events.request_body import Room, Unacceptable, bounded_body, check_not_compressed

LARGEST = 64 * 1024  # bytes
MOST_FIELDS = 50
FORM = "application/x-www-form-urlencoded"
_NO_ROOM = Room(0, free=LARGEST)


async def form_of(request: web.Request, *, seconds: float) -> dict[str, str]:
    """Its fields. Raises Unacceptable. Files and fields that come twice are in none of our forms."""
    # aiohttp's `content_type` reads the parameters too: a quote and 8,000 semicolons keep the loop for 0.1 s.
    if request.headers.get("Content-Type", "").partition(";")[0].strip().lower() != FORM:
        raise Unacceptable(415, "it is no form")
    check_not_compressed(request)
    body = await bounded_body(request, _NO_ROOM, largest=LARGEST, seconds=seconds)
    try:
        fields = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise Unacceptable(400, "the form cannot be read") from None
    if len({name for name, _ in fields}) < len(fields):
        raise Unacceptable(400, "a field comes twice")
    return dict(fields)
