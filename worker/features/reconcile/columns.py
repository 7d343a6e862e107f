"""The differences that a comparison finds, and the columns of providers' exports and senders' logs, and what a row of
them says. Pure, and for hostile input."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple, Self

from onboarding_worker.adapters.bodies import mail_date
from onboarding_worker.core.foundation.features import hint
from onboarding_worker.core.foundation.notation import as_utc
from onboarding_worker.core.model.channels import CHANNELS, folded_email
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.lists import phone_numbers, rules
from onboarding_worker.lists.cells import text_of
from onboarding_worker.senders.contract import message_key
from onboarding_worker.templates.no_values import LOOKUPS


class Difference(StrEnum):
    """Each kind with its meaning, and what a person does about it."""

    meaning: str
    what_to_do: str

    def __new__(cls, value: str, meaning: str = "", what_to_do: str = "") -> Self:
        kind = str.__new__(cls, value)
        kind._value_, kind.meaning, kind.what_to_do = value, meaning, what_to_do
        return kind

    BILLED_UNKNOWN = (
        "billed_unknown",
        "paid for, and unknown to us",
        "ask the provider who opened it; a session whose answer was lost is in `onboard report` (error) if we know it",
    )
    NEVER_BILLED = (
        "never_billed",
        "known to us, and not billed",
        "is the export of the whole period and account? Does the provider bill this only later: --charged-from",
    )
    BILLED_TWICE = ("billed_twice", "billed more than once", "claim the second row back from the provider")
    OTHER_CUSTOMER = (
        "other_customer",
        "billed for another customer than ours",
        "compare both ids: one of the books has the wrong customer",
    )
    WRONG_AMOUNT = (
        "wrong_amount",
        "billed at another price than configured",
        "compare with the contract; correct `price` of the account if it is wrong",
    )
    SENT_NOT_ISSUED = (
        "sent_not_issued",
        "a message went to a customer for whom no session was issued",
        "find out what sent it: another program, or a person; the customer may hold a link that is not ours",
    )
    LOGGED_UNKNOWN = (
        "logged_unknown",
        "in the sender's log, and unknown to us",
        "does another program send through this account? Export the log of this worker's sender alone",
    )
    SENT_NOT_LOGGED = (
        "sent_not_logged",
        "sent by us, and not in the sender's log",
        "is the log of the whole period? If so, the customer may not have it"
        + hint("customer", ": `onboard customer resend ID`"),
    )
    LOGGED_TWICE = ("logged_twice", "sent more than once under one id", "the customer has it twice; nothing to repair")
    FAILED_AT_SENDER = (
        "failed_at_sender",
        "failed at the sender, and sent for us",
        "its report did not reach us: check the callbacks; find another address"
        + hint("customer", ", or `onboard customer resend ID`"),
    )
    LOGGED_NOT_SENT = (
        "logged_not_sent",
        "sent for the sender, and not sent for us",
        "the customer has it: resolve the row, and do not send it again",
    )
    OUTSIDE_PERIOD = (
        "outside_period",
        "outside of the period",
        "it belongs to another bill; claim it back if it is in both",
    )
    UNREADABLE = ("unreadable", "rows that cannot be read", "name the columns with --map THEIRS=OURS, or mend the row")


class Found(NamedTuple):
    """One difference. `file`: provider, sender or ours; `row` of that file, or of our list. Ids only, no address."""

    kind: Difference
    file: str
    row: int
    reference: str = ""
    customer_id: str = ""
    account: str = ""
    detail: str = ""


# By our name, the titles of iDenfy, FrankieOne, and of tables that people make of their bills.
PROVIDER: Mapping[str, tuple[str, ...]] = {
    "scan_ref": ("scanRef", "scan reference", "verification id", "identification id", "verification ref"),
    "request_id": ("requestId",),
    "applicant_id": ("applicantId",),
    "company_id": ("companyId",),
    "reference": ("session", "session id", "transaction id", "id"),
    "entity_id": ("entityId",),
    "external_ref": ("externalRef", "external reference", "relayState", "partner reference"),
    "customer_id": ("clientId", "client id", "entityCustomerReference", "customerReference", "customerRef"),
    "amount": ("price", "cost", "fee", "total", "charge", "net amount", "credits"),
    "currency": ("priceUnit", "currency code"),
    "billed": ("charged", "billable", "isBilled"),
    "at": (
        *("createdAt", "created", "create date", "createTime", "created time", "startTime"),
        *("date", "timestamp", "time"),
    ),
}
# The last is shared by all sessions of an entity, so it comes last.
SESSION_KEYS = ("scan_ref", "request_id", "applicant_id", "company_id", "reference", "entity_id")
# Of Twilio, SES, Postmark, SendGrid, Mailgun, and of tables made of a mail server's log.
SENDER: Mapping[str, tuple[str, ...]] = {
    "message_id": ("Message-ID", "messageId", "MessageID", "smtp-id", "msgid", "header message id", "mail.messageId"),
    "sid": ("MessageSid", "SmsSid", "message sid"),
    "reference": ("queue id", "queueid", "sg_message_id", "sg message id", "id"),
    "to": ("recipient", "recipients", "rcpt to", "destination", "mail.destination", "email", "phone", "address"),
    "customer_id": ("clientId", "client id", "metadata.customer_id"),
    "status": (
        *("event", "eventType", "notificationType", "RecordType"),
        *("result", "state", "last event", "message status"),
    ),
    "channel": ("channel type",),
    "at": (
        *("sent at", "DateSent", "date sent", "SentDate", "sent date", "timestamp", "mail.timestamp", "date", "time"),
        *("ReceivedAt", "processed", "DateCreated", "created at"),
    ),
}
MESSAGE_KEYS = ("message_id", "sid", "reference")
LONGEST = 400  # characters of a cell that is read
_AMOUNT = re.compile(r"[^\d+-]{0,4}([+-]?\d{1,12}(?:[.,]\d{1,6})?)\s?([A-Z]{3})?[^\d]{0,3}", re.ASCII)
_SHOWN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}", re.ASCII)
_LIKE_A_NUMBER = re.compile(r"[+\d().\s-]{7,}", re.ASCII)


class Sent(StrEnum):
    """What a row of a sender's log says of a message."""

    SENT = "sent"  # it was taken or is on its way: a row of this kind is a sending
    DELIVERED = "delivered"  # in a log of events it comes after the sending; a table of messages has it alone
    LATER = "later"  # what else became of a message that was sent before: opened
    FAILED = "failed"


WHATSAPP = "whatsapp:"  # how Twilio begins such an address
_MEANINGS = {
    Sent.FAILED: "failed undelivered bounce bounced hardbounce softbounce dropped drop rejected reject renderingfailure"
    " permanentfailure permanentfail canceled cancelled expired",
    Sent.DELIVERED: "delivered delivery",
    Sent.LATER: "open opened click clicked complaint spamreport unsubscribe subscriptionchange deferred deliverydelay"
    " linkclick spamcomplaint",
}
_SENT = {word: sent for sent, words in _MEANINGS.items() for word in words.split()}


@dataclass(frozen=True, repr=False)
class Charge:
    """A session as the provider's export has it. `keys`: its ids, the surest first. `amount` None: it says none."""

    row: int
    keys: tuple[str, ...]
    external_ref: str
    customer_id: str
    amount: Decimal | None
    currency: str
    billed: bool
    at: datetime | None


@dataclass(frozen=True, repr=False)
class Sending:
    """A message as the sender's log has it. `email`, `phone`: in the form that is hashed. Personal, so no repr."""

    row: int
    keys: tuple[str, ...]
    email: str
    phone: str
    customer_id: str
    sent: Sent
    channel: str  # one of CHANNELS, or empty: it does not show
    at: datetime | None


def charge_of(row: int, cells: Mapping[str, Any]) -> Charge | str:
    """What a row says; or why it says nothing, in words that hold nothing of the row."""
    texts = _texts(cells, PROVIDER)
    keys = tuple(dict.fromkeys(texts[name] for name in SESSION_KEYS if texts[name]))
    if not (keys or texts["external_ref"] or texts["customer_id"]):
        return "it has no reference, no external_ref and no customer_id"
    amount, currency = None, texts["currency"].upper()[:3]
    if texts["amount"]:
        found = _AMOUNT.fullmatch(texts["amount"].replace(" ", " ").strip())
        if found is None:
            return "its amount cannot be read"
        amount = Decimal(found[1].replace(",", "."))
        currency = currency or found[2] or ""
    at = _time(texts["at"])
    if at is None and texts["at"]:
        return "its time cannot be read"
    billed = texts["billed"].lower() not in ("false", "no", "0", "n") and amount != 0
    return Charge(row, keys, texts["external_ref"], texts["customer_id"], amount, currency, billed, at)


def sending_of(row: int, cells: Mapping[str, Any]) -> Sending | str:
    """What a row says; or why it says nothing, in words that hold nothing of the row."""
    texts = _texts(cells, SENDER)
    keys = [key for name in MESSAGE_KEYS if (key := message_key(texts[name]))]
    email, phone = _address(texts["to"].removeprefix(WHATSAPP))
    if not (keys or email or phone or texts["customer_id"]):
        return "it has no message_id, sid, address or customer_id"
    at = _time(texts["at"])
    if at is None and texts["at"]:
        return "its time cannot be read"
    word = re.sub(r"[^a-z]", "", texts["status"].lower())
    sent, channel = _SENT.get(word, Sent.SENT), _channel(texts, email, phone)
    return Sending(row, tuple(dict.fromkeys(keys)), email, phone, texts["customer_id"], sent, channel, at)


def _channel(texts: Mapping[str, str], email: str, phone: str) -> str:
    given = texts["channel"].lower()
    if given in CHANNELS:
        return given
    if texts["to"].startswith(WHATSAPP):
        return Channel.WHATSAPP.value
    if phone or re.fullmatch(r"[SM]M[0-9a-f]{32}", texts["sid"] or texts["reference"]):
        return "sms"
    return "email" if email or "@" in texts["message_id"] else ""


def _texts(cells: Mapping[str, Any], names: Mapping[str, Any]) -> dict[str, str]:
    return {name: _text(cells.get(name), name) for name in names}


def _text(cell: Any, column: str) -> str:
    """The cell as text; "" for what is none, was lost in a spreadsheet, or is longer than anything that is read."""
    if isinstance(cell, list):  # Amazon SES has its recipients so
        cell = cell[0] if len(cell) == 1 else ""
    if isinstance(cell, str):
        text = text_of(cell, column) if len(cell) <= LONGEST else ""
        return text if isinstance(text, str) and text.lower() not in LOOKUPS else ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, int | float):
        return str(cell)[:LONGEST]
    if isinstance(cell, datetime):
        return cell.isoformat()
    return ""


def _address(text: str) -> tuple[str, str]:
    """An email address or a phone number, in the form that is hashed; "" for what is not given."""
    if "@" in text:
        email = rules.email(text.removeprefix("<").removesuffix(">"))
        return (folded_email(email), "") if isinstance(email, str) and email else ("", "")
    if text.startswith("+"):
        phone = phone_numbers.phone(text, "")
        return ("", phone) if isinstance(phone, str) else ("", "")
    return "", ""


def _time(text: str) -> datetime | None:
    """The time in one of the forms that exports have; without a zone it is UTC."""
    if not text:
        return None
    try:
        if re.fullmatch(r"\d{10}(\.\d{1,9})?|\d{13}", text, re.ASCII):
            seconds = float(text) / (1000 if len(text) == 13 and "." not in text else 1)
            return datetime.fromtimestamp(seconds, UTC)
        return as_utc(datetime.fromisoformat(text.removesuffix(" UTC").removesuffix(" GMT")))
    except (ValueError, OverflowError, OSError):
        return mail_date(text)


def shown(key: str) -> str:
    """An id of a foreign file if it may be shown: an address or a number could be in its place."""
    plain = _SHOWN.fullmatch(key) and not _LIKE_A_NUMBER.fullmatch(key)
    return key if plain else "(not shown)" if key else ""
