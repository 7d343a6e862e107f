"""Classifies Twilio's answers. Facts: docs/providers/twilio.md. Twilio's own code is read before the status: 400 can
mean a wrong number, a full queue or a wrong set-up."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from onboarding_worker.core.model.endings import AddressIs, Kind, Problem
from onboarding_worker.core.model.http_messages import Broken, HttpAnswer
from onboarding_worker.core.unknown.reconciliation import Nothing, Unmatched
from onboarding_worker.providers.bodies import BadAnswer, json_object, mail_date, retry_after
from onboarding_worker.senders.contract import Receipt, mask

OPTED_OUT, DAILY_CAP = 21610, 63038
KINDS = {
    # No message was accepted. 21611: this From's queue is full.
    **dict.fromkeys((20429, 21611, 14107, 63017, DAILY_CAP), Kind.RATE_LIMITED),
    # Our account or set-up: every message would be refused. WORDS says what they mean.
    **dict.fromkeys((20003, 20005, 10001, 21212, 21603, 21606, 21608, 21659, 21660), Kind.AUTH),
    **dict.fromkeys((21701, 21702, 21704, 21705), Kind.AUTH),
    # About this number: refused again. 21408: its country is switched off. 21703: no sender of the service reaches it.
    **dict.fromkeys((21408, 21703, 21211, 21614, 21612, 21217, OPTED_OUT), Kind.BAD_INPUT),
    # These usually come later, in a delivery callback; in an answer they mean the same. 30004, 30007: blocked or
    # filtered; the same text would be blocked again.
    **dict.fromkeys((30004, 30005, 30006, 30007), Kind.BAD_INPUT),
    **dict.fromkeys((30001, 30003, 30036), Kind.TRANSIENT),
}
# The codes about the number itself. Codes about its country and routes are about our account.
NUMBERS = dict.fromkeys((21211, 21614, 21217, 30005, 30006), AddressIs.GONE) | {OPTED_OUT: AddressIs.OPTED_OUT}
# What a code means for a WhatsApp message, where it is not as for a text: Twilio's error dictionary.
BLOCKED = 63014
WHATSAPP_KINDS = {
    63018: Kind.RATE_LIMITED,
    # Our sender or template: every message would be refused.
    **dict.fromkeys((63002, 63007, 63008, 21654, 21655), Kind.AUTH),
    # About this number, or these words.
    **dict.fromkeys((63003, 63024, BLOCKED, 63016, 63027, 63028, 63049, 21656), Kind.BAD_INPUT),
}
# The number is not on WhatsApp, or cannot get messages of companies there. A text may reach it.
NOT_ON_WHATSAPP = (63003, 63024)


@dataclass(frozen=True)
class Meaning:
    """What the codes mean on one channel: their kinds, and what they say about the number. `otherwise`: what a refusal
    says about the number whose code says nothing about it; None: another channel is not tried."""

    kinds: Mapping[int, Kind]
    numbers: Mapping[int, AddressIs]
    otherwise: AddressIs | None = None


# What the codes that stop the sender mean, for the person who is called.
_FROM = "`from` is no sender of this account, or may not send"
_SERVICE = "the messaging service in `from` is not there, or has no sender that may send"
WORDS = {
    20003: "the log-in is refused",
    20005: "the account is not active",
    10001: "the account is suspended",
    21608: "a trial account texts verified numbers alone",
    **dict.fromkeys((21212, 21603, 21606, 21659, 21660, 63007), _FROM),
    **dict.fromkeys((21701, 21702, 21704, 21705), _SERVICE),
    63002: "the WhatsApp sender's log-in is refused",
    63008: "the WhatsApp sender is set up wrongly",
    **dict.fromkeys((21654, 21655), "no such `content` in this account"),
}
OF_TEXTS = Meaning(KINDS, NUMBERS)
# A landline gets no texts, but may be on WhatsApp: 21614 says nothing about the number there.
OF_WHATSAPP = Meaning(
    {**KINDS, **WHATSAPP_KINDS},
    {
        **dict.fromkeys((21211, 21217), AddressIs.GONE),
        **dict.fromkeys((OPTED_OUT, BLOCKED), AddressIs.OPTED_OUT),
        **dict.fromkeys(NOT_ON_WHATSAPP, AddressIs.ELSEWHERE),
    },
    otherwise=AddressIs.REFUSED,
)
PREFIX = "whatsapp:"
# The daily cap covers the last 24 hours: a call each second would be 86,400 refusals.
DAILY_CAP_WAIT = timedelta(hours=2)


def read(answer: HttpAnswer, *, to: str, now: datetime, meaning: Meaning = OF_TEXTS) -> Receipt | Problem:
    """The message's sid, or the Problem. Never raises on Twilio's bytes. `now` is for a Retry-After date."""
    body, text = _content(answer)
    if answer.status in (200, 201) and body is not None:
        if sid := _sid(body):
            return Receipt(sid)
        text = "the answer has no sid"
    problem = _problem(answer, body or {}, text, to=to, now=now, meaning=meaning)
    # The answer is not Twilio's: a proxy on the way refused the request, and not because of this number.
    if body is None and problem.kind is Kind.BAD_INPUT:
        return replace(problem, kind=Kind.TRANSIENT, address=None, unclear=False)
    return problem


def read_account(answer: HttpAnswer, *, now: datetime) -> Problem | None:
    """The Problem if Twilio refuses the log-in (401, 403), or shows that the account is suspended or closed. Never
    raises on its bytes. Any other answer says nothing about texts: the page of the account may be overloaded, or not be
    there (404, 405), while texts go out."""
    if answer.status not in (200, 401, 403):
        return None
    body, text = _content(answer)
    if answer.status == 200:
        state = (body or {}).get("status")
        return Problem(Kind.AUTH, f"Twilio: the account is {state}") if state in ("suspended", "closed") else None
    return replace(_problem(answer, body or {}, text, to="", now=now), kind=Kind.AUTH, unclear=False)


def _content(answer: HttpAnswer) -> tuple[Mapping[str, Any] | None, str]:
    """The answer's JSON object, and Twilio's words in it; None, and why it has none."""
    try:
        body = json_object(answer.body)
    except BadAnswer as error:
        return None, str(error)
    text = body.get("message")
    return body, text if isinstance(text, str) else ""


@dataclass(frozen=True, repr=False)
class Sought:
    """The message that Twilio may have accepted. `service` is the messaging service of its sender, "" for a number.
    `shows_link`: each message with a body shows its link in it, so that one without it is another message."""

    to: str
    link: str
    since: datetime
    known: frozenset[str]
    service: str = ""
    shows_link: bool = True


def read_list(answer: HttpAnswer, sought: Sought, *, now: datetime) -> Receipt | Nothing | Unmatched | Problem:
    """The result of looking for the message in Twilio's list of texts to its number. Never raises on Twilio's bytes."""
    body, text = _content(answer)
    if body is None or answer.status != 200:
        problem = _problem(answer, body or {}, text, to=sought.to, now=now)
        # An account that may not list can still send texts, so that does not stop the sender.
        may_send = problem.kind is Kind.AUTH and problem.status != 401
        return replace(problem, kind=Kind.BAD_INPUT, unclear=False) if may_send else problem
    messages = body.get("messages")
    if not isinstance(messages, list) or not all(isinstance(item, Mapping) and _sid(item) for item in messages):
        return Problem(Kind.TRANSIENT, "Twilio: the answer has no list of messages", status=answer.status)
    recent = [item for item in messages if _may_be(item, sought)]
    for item in recent:
        if sought.link in str(item.get("body")):
            return Receipt(_sid(item))
    # An account can ask Twilio not to store bodies. Then any of these texts may be ours.
    bodiless = tuple(_sid(item) for item in recent if not (sought.shows_link and item.get("body")))
    if bodiless:
        number = "a message" if len(bodiless) == 1 else f"{len(bodiless)} messages"
        why = "without storing the body" if sought.shows_link else "whose body does not show the link"
        return Unmatched(bodiless, f"Twilio accepted {number} to the number {why}: {bodiless[0]}")
    if body.get("next_page_uri"):
        return Problem(Kind.BAD_INPUT, "Twilio lists more texts to the number than one page holds")
    return Nothing()


def _may_be(item: Mapping[str, Any], sought: Sought) -> bool:
    if _sid(item) in sought.known or str(item.get("direction", "outbound")).startswith("inbound"):
        return False
    if sought.service and item.get("messaging_service_sid") != sought.service:
        return False
    at = mail_date(item.get("date_created"))
    # Rather one text too many than one too few. Twilio's clock and ours may differ by so much.
    return at is None or at >= sought.since - timedelta(minutes=5)


def _sid(item: Mapping[str, Any]) -> str:
    sid = item.get("sid")
    return sid if isinstance(sid, str) and sid.isalnum() and len(sid) <= 64 else ""


def broken(failure: Broken) -> Problem:
    """The Problem of a call without an answer: surely not carried out, or unknown (Twilio has no idempotency key)."""
    kind = Kind.UNKNOWN if failure.sent else Kind.TRANSIENT
    return Problem(kind, f"Twilio: {failure.detail}", unreachable=not failure.sent)


def _problem(
    answer: HttpAnswer, body: Any, text: str, *, to: str, now: datetime, meaning: Meaning = OF_TEXTS
) -> Problem:
    number = body.get("code")
    code = number if isinstance(number, int) and not isinstance(number, bool) else None
    kind = meaning.kinds.get(code or 0) or _kind_of_status(answer.status)
    wait = retry_after(answer.headers, now, longest=DAILY_CAP_WAIT) if kind is Kind.RATE_LIMITED else None
    if code == DAILY_CAP:
        wait = wait or DAILY_CAP_WAIT
    detail = f"Twilio HTTP {answer.status}" + (f" {code}" if code else "")
    if words := WORDS.get(code or 0, ""):
        detail = f"{detail}: {words}"
    if code in (OPTED_OUT, BLOCKED):
        detail = f"the number has opted out of our messages: {detail}"
    address = meaning.numbers.get(code or 0, meaning.otherwise) if kind is Kind.BAD_INPUT else None
    # A code that is not known, or a firewall's page: whether every text is refused so is seen with the others.
    unknown = kind is Kind.BAD_INPUT and code not in meaning.kinds
    foreign = kind is Kind.AUTH and answer.status == 403 and not body
    return Problem(
        kind,
        detail,
        code=str(code) if code else None,
        status=answer.status,
        retry_after=wait,
        address=address,
        unclear=unknown or foreign,
        words=mask(text, (to, to.removeprefix("+"))),
    )


def _kind_of_status(status: int) -> Kind:
    if status in (401, 403, 404, 405) or 300 <= status < 400:
        # 404: this base_url has no such account. 3xx: it is wrong; the credential is never sent after a redirect.
        return Kind.AUTH
    if 400 <= status < 500:
        others = {402: Kind.OUT_OF_CREDIT, 408: Kind.UNKNOWN, 429: Kind.RATE_LIMITED}
        return others.get(status, Kind.BAD_INPUT)
    return Kind.UNKNOWN  # Twilio may have queued the message before a 5xx, or before a 2xx that is not readable
