"""The answers to the sender of events: to one event, and to a list of them, which has an answer for each.

A list is taken in chunk by chunk. A chunk follows when the one before has its receipts: so what the same sender posts
meanwhile waits for one chunk, not for all, and an event has the whole of its time for an answer.
"""

import asyncio
import logging
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import sqlalchemy as sa
from aiohttp import web

from worker.core.customers.customers import FieldProblem
from worker.core.model.incoming import Event, EventReceipt, Outcome
from worker.events.cloudevents import Listed, Unreadable
from worker.events.standing import NOT_ITS_CUSTOMER, NOT_ITS_ID, NOT_ITS_TYPE
from worker.events.store.inbox import CONFLICT
from worker.web.events.batching import MOST
from worker.web.problems import listed, problem
from worker.web.turns import TooMany

log = logging.getLogger(__name__)

ADDRESS = "event"  # the name of the route of one event
RETRY_SECONDS = 2  # the answer's Retry-After while the database cannot be used
AWAY = "the database cannot be used; send the same event again"
AT_ONCE = "too many events at the same time"
# The status of a refusal by its reason; else 422.
_REFUSALS = {CONFLICT: 409, NOT_ITS_TYPE: 403, NOT_ITS_ID: 403, NOT_ITS_CUSTOMER: 403}

MOST_LISTS = 4  # of one sender at a time: their events are in memory
MIXED = 207  # Multi-Status: each event's own is in the answer
NOT_KNOWN = "unknown"  # it may be stored: to be sent again
AWAY_FOR_ALL = (sa.exc.OperationalError, TooMany)
_BUG = "a bug of ours; the log names it"
Became = EventReceipt | Exception | Unreadable


def refusal_status(receipt: EventReceipt) -> int:
    """The HTTP status of a refused event."""
    return _REFUSALS.get(receipt.reason, 422)


def accepted(request: web.Request, receipt: EventReceipt) -> dict[str, Any]:
    """The answer to an event that was taken, ignored, or known already."""
    assert receipt.id is not None  # noqa: S101 -- only a refused event has none; for the type checker
    outcome = receipt.first if receipt.outcome is Outcome.DUPLICATE else receipt.outcome
    answer = {"id": str(receipt.id), "state": outcome.value, "href": address(request, receipt.id)}
    if receipt.reason:
        answer["detail"] = receipt.reason
    return answer | ({"duplicate": True} if receipt.outcome is Outcome.DUPLICATE else {})


def address(request: web.Request, event_id: uuid.UUID) -> str:
    """It includes the path that this application is mounted under, if it is mounted."""
    return str(request.app.router[ADDRESS].url_for(id=str(event_id)))


async def answer_to_many(
    request: web.Request, events: Sequence[Listed], take_in: Callable[[Event], Awaitable[EventReceipt]]
) -> web.Response:
    """Take them in. `take_in`: as `Batcher.take_in`."""
    became: list[Became] = []
    for place in range(0, len(events), MOST):
        chunk = [one.event for one in events[place : place + MOST]]
        away = next((one for one in became if isinstance(one, AWAY_FOR_ALL)), None)
        if away is None:
            became += await asyncio.gather(*(_become(one, take_in) for one in chunk))
        else:  # the rest is not tried
            became += [one if isinstance(one, Unreadable) else away for one in chunk]
    results = [
        {"index": index, **({"event": one.id} if one.id else {}), **_result(request, how)}
        for index, (one, how) in enumerate(zip(events, became, strict=True))
    ]
    counts = Counter("duplicate" if "duplicate" in result else result["state"] for result in results)
    if results and counts[NOT_KNOWN] == len(results):
        first = results[0]
        return problem(first["status"], first["detail"], retry_after=RETRY_SECONDS)
    states = (*(outcome.value for outcome in Outcome), NOT_KNOWN)
    facts = {"events": len(results), **{state: counts[state] for state in states}, "results": results}
    headers = {"Cache-Control": "no-store"} | ({"Retry-After": str(RETRY_SECONDS)} if counts[NOT_KNOWN] else {})
    mixed = counts[NOT_KNOWN] or counts[Outcome.REFUSED.value]
    return web.json_response(facts, status=MIXED if mixed else 202, headers=headers)


async def _become(event: Event | Unreadable, take_in: Callable[[Event], Awaitable[EventReceipt]]) -> Became:
    if isinstance(event, Unreadable):
        return event
    try:
        return await take_in(event)
    except AWAY_FOR_ALL as error:
        return error
    except Exception as error:  # a bug that one event uncovers is that event's answer
        log.exception("an event ended with a bug of ours")  # the log shows only its kind and place
        return error


def _result(request: web.Request, became: Became) -> dict[str, Any]:
    match became:
        case Unreadable():
            return _refused(400, Outcome.REFUSED.value, became.reason)
        case EventReceipt(outcome=Outcome.REFUSED):
            return _refused(refusal_status(became), Outcome.REFUSED.value, became.reason, became.problems)
        case EventReceipt():
            return {"status": 202, **accepted(request, became)}
        case sa.exc.OperationalError():
            return _refused(503, NOT_KNOWN, AWAY)
        case TooMany():
            return _refused(503, NOT_KNOWN, AT_ONCE)
        case _:
            return _refused(500, NOT_KNOWN, _BUG)


def _refused(status: int, state: str, detail: str, problems: Sequence[FieldProblem] = ()) -> dict[str, Any]:
    named = listed(problems or [FieldProblem("", detail, "")])
    return {"status": status, "state": state, "detail": detail, "problems": named}
