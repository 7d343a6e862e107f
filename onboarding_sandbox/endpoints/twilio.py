"""Simulates Twilio: accepts a text message or a WhatsApp message, lists the accepted ones, and shows the account.

Sources: the provider's pages on the Message resource, its error dictionary, and its test credentials, whose
magic numbers have the same effects here.
"""

import base64
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode

from onboarding_sandbox.options import SandboxOptions
from onboarding_sandbox.wire import TWILIO, TWILIO_ACCOUNT, TWILIO_LIST, WHATSAPP, Answer, Call, Endpoint

ROUTE = "/twilio/2010-04-01/Accounts/{account}/Messages.json"
LONGEST_BODY = 1600  # characters
VALIDITY_MOST = 36_000  # seconds
PAGE_SIZE, PAGE_SIZE_MOST = 50, 1000
CONTENT = re.compile(r"HX[0-9a-fA-F]{32}", re.ASCII)
E164 = re.compile(r"\+[1-9]\d{6,14}", re.ASCII)
BAD_VALUE = re.compile(r"[\n\t]| {5}")  # of a placeholder

# Every parameter of the page. The real Twilio ignores any other parameter; here it is an error.
PARAMETERS = frozenset(
    """
    To From MessagingServiceSid Body MediaUrl ContentSid StatusCallback ApplicationSid MaxPrice ProvideFeedback Attempt
    ValidityPeriod ForceDelivery ContentRetention AddressRetention SmartEncoded PersistentAction TrafficType ShortenUrls
    ScheduleType SendAt SendAsMms ContentVariables RiskCheck
    """.split()  # noqa: SIM905  # as words a table can be read
)
MAGIC_TO = {
    "+15005550001": 21211,
    "+15005550002": 21612,
    "+15005550003": 21408,
    "+15005550004": 21610,
    "+15005550009": 21614,
}
# Ours: on these no WhatsApp message arrives, one refused at once and one reported later; texts do.
NOT_ON_WHATSAPP, FOUND_LATER = "+15005550005", "+15005550008"
MAGIC_FROM = {"+15005550001": 21212, "+15005550007": 21606, "+15005550008": 21611}

MESSAGES = {
    20001: "Unknown or repeated parameters",
    20003: "Authenticate",
    20404: "The requested resource was not found",
    20429: "Too Many Requests",
    21211: "The 'To' number {to} is not a valid phone number.",
    21212: "The 'From' number {sender} is not a valid phone number, shortcode, or alphanumeric sender ID.",
    21408: "Permission to send an SMS has not been enabled for the region indicated by the 'To' number: {to}",
    21602: "Message body is required.",
    21603: "A 'From' phone number is required.",
    21604: "A 'To' phone number is required.",
    21606: "The From phone number {sender} is not a valid, SMS-capable phone number for your account.",
    21610: "Attempt to send to unsubscribed recipient {to}",
    21611: "This 'From' number has exceeded the maximum number of queued messages",
    21612: "The 'To' phone number: {to}, is not currently reachable using the 'From' phone number",
    21655: "The ContentSid is Invalid",
    21656: "The ContentVariables Parameter is invalid",
    30016: "'To' and 'From' channel types are incompatible",
    63003: "Channel could not find To address",
    63007: "Twilio could not find a Channel with the specified From address",
    63016: "Failed to send freeform message because you are outside the allowed window. Please use a Template",
    21701: "The Messaging Service does not exist",
    21614: "'To' number {to} is not a valid mobile number",
    21617: "The concatenated message body exceeds the 1600 character limit.",
    21624: "ValidityPeriod must be between 1 and 36000",  # the code is not on the pages that were read
}
CODES = {401: 20003, 402: 20005, 404: 20404, 429: 20429}


def _error(status: int, code: int, **values: str) -> Answer:
    text = MESSAGES.get(code, f"HTTP {status}").format(**{"to": "", "sender": "", **values})
    body = {"code": code, "message": text, "more_info": f"https://www.twilio.com/docs/errors/{code}", "status": status}
    return Answer(status, body)


ALPHABET = set(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡"
    "ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
ESCAPED = set("\f^{}\\[~]|€")


@dataclass(frozen=True, repr=False)
class Text:
    """One message. `sender` is a number or a messaging service; `validity` is in seconds. `content` is the ContentSid
    of a WhatsApp message, whose `body` has the values of its placeholders."""

    n: int  # from 1
    at: datetime  # aware UTC
    sid: str
    to: str
    sender: str
    body: str
    validity: int | None
    callback: str | None
    content: str | None = None

    @property
    def segments(self) -> int:
        """How many segments the text is sent and charged as."""
        return 1 if self.by_whatsapp else count_segments(self.body)

    @property
    def by_whatsapp(self) -> bool:
        return self.to.startswith(WHATSAPP)

    def facts(self) -> dict[str, Any]:
        given = {"n": self.n, "at": self.at.isoformat(), "sid": self.sid, "from": self.sender, "to": self.to}
        given |= {"body": self.body, "segments": self.segments, "validity": self.validity, "callback": self.callback}
        return given | ({"content": self.content} if self.content else {})


def count_segments(body: str) -> int:
    """Count segments: of 160 or 153 septets if the phone alphabet has all letters, else of 70 or 67 UTF-16 units."""
    plain = not set(body) - ALPHABET - ESCAPED
    units = [("\x1b" + letter) if plain and letter in ESCAPED else letter for letter in body]
    sizes = [len(unit) if plain else len(unit.encode("utf-16-be")) // 2 for unit in units]
    if sum(sizes) <= (160 if plain else 70):
        return 1
    room = 153 if plain else 67
    parts = [0]
    for size in sizes:
        if parts[-1] + size > room:
            parts.append(0)
        parts[-1] += size
    return len(parts)


class _Messages(Endpoint):
    """The common part of both calls: the address, the login, and the form of errors."""

    family = "twilio"
    route = ROUTE

    def __init__(self, options: SandboxOptions, texts: list[Text]) -> None:
        self._options = options
        self._texts = texts

    def reset(self) -> None:
        self._texts.clear()

    def credential(self, call: Call) -> str | Answer:
        login = f"{self._options.twilio_account}:{self._options.twilio_token}"
        expected = f"Basic {base64.b64encode(login.encode()).decode()}"
        if call.headers.get("Authorization") != expected:
            return _error(401, 20003)
        if call.path["account"] != self._options.twilio_account:
            return _error(404, 20404)
        return self._options.twilio_account

    def refusal(self, status: int) -> Answer:
        return _error(status, CODES.get(status, 20_000 + status))


class SendText(_Messages):
    """POST Messages.json: accept one message."""

    name = TWILIO

    def client(self, call: Call) -> str | None:
        return (_fields(call) or {}).get("To")

    def answer(self, call: Call) -> Answer:
        fields = _fields(call)
        if fields is None or set(fields) - PARAMETERS:
            return _error(400, 20001)
        to, sender = fields.get("To", ""), fields.get("MessagingServiceSid") or fields.get("From", "")
        code = self._refused(fields, to, sender)
        if code:
            return _error(400, code, to=to, sender=sender)
        validity = fields.get("ValidityPeriod")
        text = Text(
            n=len(self._texts) + 1,
            at=call.now,
            sid=f"SM{secrets.token_hex(16)}",
            to=to,
            sender=sender,
            body=fields.get("Body", "\n".join(_values(fields).values())),
            validity=int(validity) if validity else None,
            callback=fields.get("StatusCallback"),
            content=fields.get("ContentSid"),
        )
        self._texts.append(text)
        status = "accepted" if sender.startswith("MG") else "queued"
        return Answer(201, _printed(text, self._options.twilio_account, status), processed=True, reference=text.sid)

    def _refused(self, fields: Mapping[str, str], to: str, sender: str) -> int:
        """The code of the first error; 0 if there is none."""
        if to.startswith(WHATSAPP) or sender.startswith(WHATSAPP):
            return self._refused_by_whatsapp(fields, to, sender)
        validity = fields.get("ValidityPeriod", "1")
        checks = (
            (not to, 21604),
            (not sender, 21603),
            (not fields.get("Body"), 21602),
            (not E164.fullmatch(to), 21211),
            (sender not in self._options.twilio_senders, _unknown(fields, MAGIC_FROM.get(sender, 21606))),
            (len(fields.get("Body", "")) > LONGEST_BODY, 21617),
            (not validity.isascii() or not validity.isdigit() or not 1 <= int(validity) <= VALIDITY_MOST, 21624),
            (to in MAGIC_TO, MAGIC_TO.get(to, 0)),
            (to in self._options.twilio_opted_out, 21610),
        )
        return next((code for wrong, code in checks if wrong), 0)

    def _refused_by_whatsapp(self, fields: Mapping[str, str], to: str, sender: str) -> int:
        """As `_refused`. The real Twilio accepts a message without an approved template, and reports 63016 later."""
        number = to.removeprefix(WHATSAPP)
        is_service = "MessagingServiceSid" in fields
        known = sender.removeprefix(WHATSAPP) in self._options.twilio_senders
        checks = (
            (not to.startswith(WHATSAPP) or not (is_service or sender.startswith(WHATSAPP)), 30016),
            (not E164.fullmatch(number), 21211),
            (not known, _unknown(fields, 63007)),
            ("ContentSid" not in fields or "Body" in fields, 63016),
            (CONTENT.fullmatch(fields.get("ContentSid", "")) is None, 21655),
            (any(not value or BAD_VALUE.search(value) for value in _values(fields).values()), 21656),
            (number in MAGIC_TO, MAGIC_TO.get(number, 0)),
            (number in self._options.twilio_opted_out, 21610),
            (number == NOT_ON_WHATSAPP, 63003),
        )
        return next((code for wrong, code in checks if wrong), 0)


class FetchAccount(_Messages):
    """GET Accounts/SID.json: the account, as a client fetches it to see whether its log-in works."""

    name = TWILIO_ACCOUNT
    method = "GET"
    route = ROUTE.replace("/Messages.json", ".json")
    family = "twilio-account"  # it takes nothing from the rate of the texts

    def answer(self, call: Call) -> Answer:
        account = self._options.twilio_account
        uri = f"/2010-04-01/Accounts/{account}.json"
        body = {"sid": account, "friendly_name": "Sandbox", "status": "active", "type": "Full", "uri": uri}
        return Answer(200, body)


class ListTexts(_Messages):
    """GET Messages.json: accepted texts, newest first; by To, From and DateSent (a day, `>` from it, `<` until it)."""

    name = TWILIO_LIST
    method = "GET"

    def client(self, call: Call) -> str | None:
        return call.query.get("To")

    def answer(self, call: Call) -> Answer:
        try:
            size = min(int(call.query.get("PageSize", PAGE_SIZE)), PAGE_SIZE_MOST)
            page = int(call.query.get("Page", 0))
            found = [text for text in reversed(self._texts) if _fits(text, call.query)]
            if size < 1 or page < 0:
                raise ValueError
        except ValueError:
            return _error(400, 20001)
        account = self._options.twilio_account
        first = page * size
        shown = [_printed(text, account, "delivered") for text in found[first : first + size]]
        more = len(found) > first + size
        path = call.url.partition("?")[0].partition("/twilio")[2]
        query = {**call.query, "PageSize": str(size)}
        body = {
            "messages": shown,
            "page": page,
            "page_size": size,
            "start": first,
            "end": first + max(len(shown) - 1, 0),
            "uri": f"{path}?{urlencode({**query, 'Page': page})}",
            "first_page_uri": f"{path}?{urlencode({**query, 'Page': 0})}",
            "previous_page_uri": f"{path}?{urlencode({**query, 'Page': page - 1})}" if page else None,
            "next_page_uri": f"{path}?{urlencode({**query, 'Page': page + 1})}" if more else None,
        }
        return Answer(200, body)


def _unknown(fields: Mapping[str, str], code: int) -> int:
    """The code for a sender that the account does not have: `code`, or that of a messaging service."""
    return 21701 if "MessagingServiceSid" in fields else code


def _values(fields: Mapping[str, str]) -> dict[str, str]:
    """The values of the placeholders; one that is refused if they are not an object of texts."""
    try:
        given = json.loads(fields.get("ContentVariables", "{}"))
    except ValueError:
        given = None
    fits = isinstance(given, dict) and all(isinstance(value, str) for value in given.values())
    return dict(given) if fits else {"1": ""}


def _fields(call: Call) -> dict[str, str] | None:
    """The form's fields; None if the body is not a form, or has a field twice."""
    kind = call.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        return None
    try:
        pairs = parse_qsl(
            call.body.decode("ascii"), keep_blank_values=True, strict_parsing=bool(call.body), errors="strict"
        )
    except ValueError:
        return None
    return dict(pairs) if len(dict(pairs)) == len(pairs) else None


def _fits(text: Text, query: Mapping[str, str]) -> bool:
    """Whether the query selects the text. Raises ValueError for an invalid date."""
    if query.get("To", text.to) != text.to or query.get("From", text.sender) != text.sender:
        return False
    if "DateSent" in query and _moment(query["DateSent"]).date() != text.at.date():
        return False
    if "DateSent>" in query and text.at < _moment(query["DateSent>"]):
        return False
    until = query.get("DateSent<")
    if until is None:
        return True
    whole_day = len(until) == len(date.min.isoformat())  # without a time: it includes the complete day
    return text.at <= _moment(until) + timedelta(days=whole_day)


def _moment(given: str) -> datetime:
    moment = datetime.fromisoformat(given)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _printed(text: Text, account: str, status: str) -> dict[str, Any]:
    """The Message resource in the page's form: times as in mail, numbers as strings."""
    service = text.sender.startswith("MG")
    at = format_datetime(text.at.astimezone(UTC))
    uri = f"/2010-04-01/Accounts/{account}/Messages/{text.sid}"
    return {
        "account_sid": account,
        "api_version": "2010-04-01",
        "body": text.body,
        **dict.fromkeys(("date_created", "date_updated"), at),
        "date_sent": at if status == "delivered" else None,
        "direction": "outbound-api",
        **dict.fromkeys(("error_code", "error_message", "price")),
        "from": None if service else text.sender,
        "messaging_service_sid": text.sender if service else None,
        "num_media": "0",
        # With a messaging service the sender is chosen later, and the page says 0.
        "num_segments": "0" if service and status != "delivered" else str(text.segments),
        "price_unit": "USD",
        "sid": text.sid,
        "status": status,
        "subresource_uris": {"media": f"{uri}/Media.json"},
        "to": text.to,
        "uri": f"{uri}.json",
    }
