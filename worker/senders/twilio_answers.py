"""What Twilio's answers mean. Facts: providers.md 8.2.

Its own code is read before the status: 400 stands for a wrong number, a full queue and a wrong set-up alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from worker.domain.model.endings import AddressIs, Kind, Problem
from worker.domain.model.reconciliation import Nothing, Unmatched
from worker.http.messages import BadAnswer, Broken, HttpAnswer, json_object, retry_after
from worker.senders.contract import Receipt
from worker.senders.masking import mask

OPTED_OUT = 21610
KINDS = {
    # Told to wait: nothing was taken.
    20429: Kind.RATE_LIMITED,
    21611: Kind.RATE_LIMITED,  # this From's queue is full
    14107: Kind.RATE_LIMITED,
    63017: Kind.RATE_LIMITED,
    63038: Kind.RATE_LIMITED,  # the account's daily cap
    # Our account or set-up: every message would be refused.
    20003: Kind.AUTH,
    20005: Kind.AUTH,
    21606: Kind.AUTH,  # From is not ours, or can't send
    21659: Kind.AUTH,
    21660: Kind.AUTH,
    21608: Kind.AUTH,  # a trial account texts verified numbers alone
    # This number: it would be refused again.
    21408: Kind.BAD_INPUT,  # its country is not switched on
    21211: Kind.BAD_INPUT,
    21614: Kind.BAD_INPUT,
    21612: Kind.BAD_INPUT,
    21217: Kind.BAD_INPUT,
    OPTED_OUT: Kind.BAD_INPUT,
    # Usually told later, with the delivery; the same should one come at once.
    30005: Kind.BAD_INPUT,
    30006: Kind.BAD_INPUT,
    30004: Kind.BAD_INPUT,  # blocked or filtered: the same text again would be, too
    30007: Kind.BAD_INPUT,
    30003: Kind.TRANSIENT,
    30001: Kind.TRANSIENT,
    30036: Kind.TRANSIENT,
}
# What a code says of the number. Those of its country and its routes are about our account.
NUMBERS = dict.fromkeys((21211, 21614, 21217, 30005, 30006), AddressIs.GONE) | {OPTED_OUT: AddressIs.OPTED_OUT}
# The daily cap rolls over 24 hours: asking each second would be 86,400 refusals.
DAILY_CAP_WAIT = timedelta(hours=2)
DAILY_CAP = 63038
# How far Twilio's clock and ours may be apart.
SKEW = timedelta(minutes=5)


def read(answer: HttpAnswer, *, to: str, now: datetime) -> Receipt | Problem:
    """The message's sid, or what was wrong. Never raises on what is sent. `now` is for a Retry-After date."""
    try:
        body = json_object(answer.body)
    except BadAnswer as error:
        problem = _problem(answer, {}, str(error), to=to, now=now)
        # Not Twilio's words: something on the way refused it, which says nothing about this number.
        return replace(problem, kind=Kind.TRANSIENT) if problem.kind is Kind.BAD_INPUT else problem
    if answer.status not in (200, 201):
        said = body.get("message")
        return _problem(answer, body, said if isinstance(said, str) else "", to=to, now=now)
    sid = body.get("sid")
    if not isinstance(sid, str) or not sid.isalnum() or len(sid) > 64:
        return _problem(answer, body, "the answer has no sid", to=to, now=now)
    return Receipt(sid)


@dataclass(frozen=True, repr=False)
class Sought:
    """The text that may have been taken. `service` is the messaging service that it was sent by, "" for a number."""

    to: str
    link: str
    since: datetime
    known: frozenset[str]
    service: str = ""


def read_list(answer: HttpAnswer, sought: Sought, *, now: datetime) -> Receipt | Nothing | Unmatched | Problem:
    """Whether the text sought is in the list of those to its number. Never raises on what is sent."""
    try:
        body = json_object(answer.body)
    except BadAnswer as error:
        return _look_up_problem(_problem(answer, {}, str(error), to=sought.to, now=now))
    if answer.status != 200:
        said = body.get("message")
        return _look_up_problem(_problem(answer, body, said if isinstance(said, str) else "", to=sought.to, now=now))
    messages = body.get("messages")
    if not isinstance(messages, list) or not all(isinstance(item, Mapping) and _sid(item) for item in messages):
        return Problem(Kind.TRANSIENT, "Twilio: the answer has no list of messages", status=answer.status)
    recent = [item for item in messages if _may_be(item, sought)]
    for item in recent:
        if sought.link in str(item.get("body")):
            return Receipt(_sid(item))
    # Kept without their words, as an account may ask for: any of them may be the one.
    wordless = tuple(_sid(item) for item in recent if not item.get("body"))
    if wordless:
        number = "a text" if len(wordless) == 1 else f"{len(wordless)} texts"
        return Unmatched(wordless, f"Twilio took {number} to the number without keeping the words: {wordless[0]}")
    if body.get("next_page_uri"):
        return Problem(Kind.BAD_INPUT, "Twilio lists more texts to the number than one page holds")
    return Nothing()


def _may_be(item: Mapping[str, Any], sought: Sought) -> bool:
    if _sid(item) in sought.known or str(item.get("direction", "outbound")).startswith("inbound"):
        return False
    if sought.service and item.get("messaging_service_sid") != sought.service:
        return False
    created = item.get("date_created")
    try:
        at = parsedate_to_datetime(created) if isinstance(created, str) else None
    except (ValueError, TypeError, OverflowError, IndexError):
        at = None
    if at is None:
        return True  # better one too many than one overlooked
    return (at.replace(tzinfo=UTC) if at.tzinfo is None else at) >= sought.since - SKEW


def _sid(item: Mapping[str, Any]) -> str:
    sid = item.get("sid")
    return sid if isinstance(sid, str) and sid.isalnum() and len(sid) <= 64 else ""


def _look_up_problem(problem: Problem) -> Problem:
    """As for a message, but for what says that this account may not list: its texts may go out all the same."""
    if problem.kind is Kind.AUTH and problem.status != 401:
        return replace(problem, kind=Kind.BAD_INPUT)
    return problem


def broken(failure: Broken) -> Problem:
    """What a call without an answer was: surely not made, or unknown, since there is no key to repeat it under."""
    kind = Kind.UNKNOWN if failure.sent else Kind.TRANSIENT
    return Problem(kind, f"Twilio: {failure.detail}", unreachable=not failure.sent)


def _problem(answer: HttpAnswer, body: Any, said: str, *, to: str, now: datetime) -> Problem:
    number = body.get("code")
    code = number if isinstance(number, int) and not isinstance(number, bool) else None
    kind = KINDS[code] if code in KINDS else _kind_of_status(answer.status)
    wait = retry_after(answer.headers, now) if kind is Kind.RATE_LIMITED else None
    if code == DAILY_CAP:
        wait = wait or DAILY_CAP_WAIT
    words = mask(said, (to, to.removeprefix("+")))
    detail = f"Twilio HTTP {answer.status}" + (f" {code}" if code else "") + (f": {words}" if words else "")
    if code == OPTED_OUT:
        detail = f"the number has opted out of our texts: {detail}"
    address = NUMBERS.get(code) if code is not None and kind is Kind.BAD_INPUT else None
    return Problem(
        kind, detail, code=str(code) if code else None, status=answer.status, retry_after=wait, address=address
    )


def _kind_of_status(status: int) -> Kind:
    match status:
        case 429:
            return Kind.RATE_LIMITED
        case 402:
            return Kind.OUT_OF_CREDIT
        case 408:
            return Kind.UNKNOWN
        case 401 | 403 | 404 | 405:
            # 404: no such account under this base_url.
            return Kind.AUTH
        case _ if 300 <= status < 400:
            return Kind.AUTH  # a wrong base_url: the credential is not carried elsewhere
        case _ if 400 <= status < 500:
            return Kind.BAD_INPUT
        case _:
            return Kind.UNKNOWN  # a 5xx may have queued it, a 2xx that can't be read surely might
