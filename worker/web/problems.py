"""Answers that describe a problem (RFC 9457): by column, with what to do, and never with a value that was sent. And
the headers of each page that a browser shows: no page is kept, framed, or named to another site."""

import math
from collections.abc import Sequence
from http import HTTPStatus

from aiohttp import web

from onboarding_worker.core.model.customers import FieldProblem

PROBLEM = "application/problem+json"
# Where a request stores why its credentials were refused: "events: …". It holds nothing of the request.
REFUSED = web.RequestKey("refused", str)
# Honest people are refused so too: the log has only a machine's later ones.
HONEST = web.RequestKey("honest", bool)

PAGE_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Refused(Exception):
    """A request is refused, with this answer (`middlewares.as_problems`). `reason` has no value of the request."""

    def __init__(self, answer: web.Response, reason: str = "") -> None:
        super().__init__(reason)
        self.answer = answer


def problem(
    status: int,
    detail: str,
    *,
    problems: Sequence[FieldProblem] = (),
    hint: str = "",
    retry_after: float | None = None,
    headers: dict[str, str] | None = None,
) -> web.Response:
    """The answer. Without problems by column, `detail` and `hint` make the only problem. `retry_after` is in
    seconds."""
    given = dict(headers or {})
    if retry_after is not None:
        given["Retry-After"] = str(max(1, math.ceil(retry_after)))
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "problems": listed(problems or [FieldProblem("", detail, hint)]),
    }
    return web.json_response(body, status=status, content_type=PROBLEM, headers={"Cache-Control": "no-store", **given})


def listed(problems: Sequence[FieldProblem]) -> list[dict[str, str]]:
    return [{"column": one.column, "problem": one.problem, "hint": one.hint} for one in problems]
