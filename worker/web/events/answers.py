"""The answer to the sender of an event, alone or as one of a list."""

import uuid
from typing import Any

from aiohttp import web

from worker.core.model.incoming import EventReceipt, Outcome
from worker.events.rights import NOT_ITS_CUSTOMER, NOT_ITS_ID, NOT_ITS_TYPE
from worker.events.store.inbox import CONFLICT

ADDRESS = "event"  # the name of the route of one event
RETRY_SECONDS = 2  # the answer's Retry-After while the database cannot be used
AWAY = "the database cannot be used; send the same event again"
AT_ONCE = "too many events at the same time"
# The status by the reason; else 422.
_REFUSALS = {CONFLICT: 409, NOT_ITS_TYPE: 403, NOT_ITS_ID: 403, NOT_ITS_CUSTOMER: 403}


def status_of(receipt: EventReceipt) -> int:
    """The HTTP status of an event with this receipt."""
    return _REFUSALS.get(receipt.reason, 422) if receipt.outcome is Outcome.REFUSED else 202


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
