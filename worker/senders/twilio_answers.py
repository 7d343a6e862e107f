"""Classifies Twilio's answers. Facts: docs/providers/twilio.md. Twilio's own code is read before the status: 400 can
mean a wrong number, a full queue or a wrong set-up."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from onboarding_worker.adapters.bodies import BadAnswer, json_object, mail_date, retry_after
from onboarding_worker.core.model.endings import AddressIs, Kind, Problem
from onboarding_worker.core.model.http_messages import Broken, HttpAnswer
from onboarding_worker.core.model.stops import About
from onboarding_worker.core.rules.reconciliation import Nothing, Unmatched
from onboarding_worker.senders.contract import Receipt, mask

OPTED_OUT, DAILY_CAP, BLOCKED = 21610, 63038, 63014


class Code(NamedTuple):
    """What a code means, in an answer and in a later report. `kind`: of an answer. `unclear`: it may be about some of
    the rows, or about all: the others tell. `address`: what it says about the number. `words`: for the
    person who is called."""

    about: About
    kind: Kind
    words: str = ""
    address: AddressIs | None = None
    unclear: bool = False


def _codes(*codes: int, said: Code) -> dict[int, Code]:
    return dict.fromkeys(codes, said)


def _ours(words: str, kind: Kind = Kind.AUTH) -> Code:
    return Code(About.US, kind, words)


def _of_some(words: str) -> Code:
    return Code(About.US, Kind.BAD_INPUT, words, unclear=True)


_WAY, _CUSTOMER = Code(About.WAY, Kind.TRANSIENT), Code(About.CUSTOMER, Kind.BAD_INPUT)
_GONE = Code(About.ADDRESS, Kind.BAD_INPUT, address=AddressIs.GONE)
_FROM = _ours("`from` is no sender of this account, or may not send")
_SERVICE = _ours("the messaging service in `from` is not there, or has no sender that may send")
_TOO_FAST, _SUSPENDED = _ours("", Kind.RATE_LIMITED), _ours("the account is suspended")
_REFUSED_TEMPLATE = _ours("WhatsApp has refused or paused the template in `content`")
# Each code with the meaning that its page has: the source is https://www.twilio.com/docs/api/errors/CODE. A code that
# is not here is UNKNOWN.
TEXTS: Mapping[int, Code] = {
    # No message was accepted. 21611: this From's queue is full.
    **_codes(20429, 21611, 14107, 63017, DAILY_CAP, said=_TOO_FAST),
    # More than the carriers take of our campaign or brand, for now.
    **_codes(30022, 30023, 30027, said=_ours("more texts than the carriers take of our campaign", Kind.RATE_LIMITED)),
    # Our account.
    20003: _ours("the log-in is refused"),
    20005: _ours("the account is not active"),
    **_codes(10001, 30002, said=_SUSPENDED),
    21608: _ours("a trial account texts verified numbers alone"),
    21267: _ours("a trial account has no sender's name"),
    30037: _ours("this account may not send messages"),
    30044: _ours("a trial account sends short texts alone"),
    30038: _ours("Twilio takes the text for a one-time passcode"),
    # Our sender.
    **_codes(21212, 21603, 21606, 21659, 21660, 21661, said=_FROM),
    **_codes(21701, 21702, 21704, 21705, said=_SERVICE),
    30032: _ours("our toll-free number is not verified"),
    30033: _ours("our A2P 10DLC campaign is suspended"),
    **_codes(30034, 30035, said=_ours("our number is not registered for texts to the USA (A2P 10DLC)")),
    # Our set-up for one country or route, or our text for one customer.
    21617: _of_some("the text is longer than 1,600 characters"),
    21408: _of_some("the number's country is not enabled"),
    **_codes(21612, 21703, said=_of_some("no sender of ours reaches the number")),
    **_codes(30018, 30024, said=_of_some("the number's country wants a registered sender")),
    # The number.
    **_codes(21211, 21217, 21265, 21614, 21635, 30005, 30006, said=_GONE),
    OPTED_OUT: Code(About.CUSTOMER, Kind.BAD_INPUT, address=AddressIs.OPTED_OUT),
    # Blocked or filtered on the way to this number: the same text would be again. 30008: for a reason of the carrier's.
    **_codes(30004, 30007, 30008, said=_CUSTOMER),
    # The phone, a queue, the carrier, or Twilio itself. 30450: Twilio blocks the number for half an hour.
    **_codes(30001, 30003, 30017, 30020, 30021, 30036, 30410, 30450, said=_WAY),
}
# What a code means for a WhatsApp message, where it is not as for a text. A landline gets no texts, but may be on
# WhatsApp.
WHATSAPP: Mapping[int, Code] = {
    **TEXTS,
    **_codes(21614, 21635, 30005, 30006, said=_CUSTOMER),
    63018: _TOO_FAST,
    63001: _ours("the WhatsApp sender's log-in is refused"),
    63002: _ours("the WhatsApp sender's log-in is refused"),
    63007: _FROM,
    63008: _ours("the WhatsApp sender is set up wrongly"),
    63013: _ours("the message breaks a rule of WhatsApp"),
    63015: _ours("WhatsApp's sandbox writes to those alone who joined it"),
    63020: _ours("our business account at Meta has an error"),
    63022: _ours("the name of the WhatsApp sender is not approved"),
    63026: _ours("WhatsApp takes our messages for spam"),
    **_codes(63040, 63041, 63042, said=_REFUSED_TEMPLATE),
    63051: _ours("WhatsApp has locked our business account"),
    **_codes(21654, 21655, said=_ours("no such `content` in this account")),
    # This number, or these words. 63016, 63027, 63028, 21656: the template does not fit. 63049: Meta withholds it.
    **_codes(63005, 63006, 63016, 63021, 63027, 63028, 63029, 63030, 63032, 63049, 21656, said=_CUSTOMER),
    # The number is not on WhatsApp, or cannot get messages of companies there. A text may reach it.
    **_codes(63003, 63024, said=Code(About.ADDRESS, Kind.BAD_INPUT, address=AddressIs.ELSEWHERE)),
    **_codes(BLOCKED, 63033, said=Code(About.CUSTOMER, Kind.BAD_INPUT, address=AddressIs.OPTED_OUT)),
    **_codes(63009, 63010, 63011, 63012, 63023, said=_WAY),
}


@dataclass(frozen=True)
class Meaning:
    """What the codes mean on one channel. `otherwise`: what a refusal says about the number whose code says nothing
    about it; None: another channel is not tried."""

    codes: Mapping[int, Code]
    otherwise: AddressIs | None = None


OF_TEXTS, OF_WHATSAPP = Meaning(TEXTS), Meaning(WHATSAPP, otherwise=AddressIs.REFUSED)
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
    said = meaning.codes.get(code or 0)
    kind = said.kind if said is not None else _kind_of_status(answer.status)
    wait = retry_after(answer.headers, now, longest=DAILY_CAP_WAIT) if kind is Kind.RATE_LIMITED else None
    if code == DAILY_CAP:
        wait = wait or DAILY_CAP_WAIT
    detail = f"Twilio HTTP {answer.status}" + (f" {code}" if code else "")
    if said is not None and said.words:
        detail = f"{detail}: {said.words}"
    if said is not None and said.address is AddressIs.OPTED_OUT:
        detail = f"the number has opted out of our messages: {detail}"
    address = (said.address if said is not None else None) or meaning.otherwise if kind is Kind.BAD_INPUT else None
    # A code that is not known, or a firewall's page: whether every text is refused so is seen with the others.
    unknown = said.unclear if said is not None else kind is Kind.BAD_INPUT
    foreign = kind is Kind.AUTH and answer.status == 403 and not body
    return Problem(
        kind,
        detail,
        code=str(code) if code else None,
        status=answer.status,
        retry_after=wait,
        address=address,
        unclear=unknown or foreign,
        undocumented=bool(code) and said is None,
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
