"""Reads a bounce without a report (RFC 3464): a mail of a mail system, as qmail and old gateways write them. Pure.

It came to a return path that we have signed, so it is known which mail it is about. What it says is for people.
Answers of people and of their programs come there too: only a mail that calls itself a mail system's is read.
"""

import re
from email.message import Message
from email.utils import parseaddr

from worker.core.messages.delivery_reports import DeliveryStatus, DeliveryUpdate, NotUnderstood, Stop
from worker.senders.smtp_answers import GONE, UNKNOWN_MAILBOX

MOST_TEXT = 4_000  # characters of the words; the mail that came back follows
SYSTEMS = frozenset({"mailer-daemon", "postmaster", "mail-daemon", "maildaemon", "mdaemon"})
# Where the mail that came back begins: its words say nothing about the delivery.
_COPY = re.compile(
    r"below this line is a copy|this is a copy of|copy of (your|the) message|original message"
    r"|^> |^received: |^return-path:",
    re.MULTILINE,
)
_CODE = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.])")
_REFUSED = re.compile(
    r"(?<![\d.-])55[0-4][ -]|permanent (fatal )?(error|failure)|failed permanently|giv(en|ing) up"
    r"|(could|can) ?not be delivered|undeliver|delivery (has )?failed"
)
_DELAYED = re.compile(
    r"delayed|not yet been delivered|will (continue to try|be retried|keep trying)|still (be )?tr(ied|ying)"
)


def read(mail: Message, key: str) -> DeliveryUpdate | NotUnderstood:
    """The update in a mail that is no report. `key`: of the mail that it is about."""
    if not _is_of_a_system(mail):
        return NotUnderstood("it has no report of a delivery")
    text = _text(mail)
    found = _CODE.search(text)
    code = found[1] if found else ""
    if code.startswith("4") or (not code and _DELAYED.search(text)):
        return DeliveryUpdate("delayed", key, status=DeliveryStatus.LATER)
    unknown = UNKNOWN_MAILBOX.search(text) is not None
    if not (code.startswith("5") or unknown or _REFUSED.search(text)):
        return NotUnderstood("it has no report of a delivery")
    if code in GONE or (unknown and (not code or code.endswith(".0.0"))):
        return DeliveryUpdate("bounced", key, status=DeliveryStatus.BOUNCED, stop=Stop.BOUNCED, code=code)
    return DeliveryUpdate("bounced", key, status=DeliveryStatus.BLOCKED, code=code)


def _is_of_a_system(mail: Message) -> bool:
    if mail.get("X-Failed-Recipients"):  # Exim's
        return True
    _, address = parseaddr(str(mail.get("From", ""))[:MOST_TEXT])
    return address.partition("@")[0].lower() in SYSTEMS


def _text(mail: Message) -> str:
    """The words for people, in lower case, without the mail that came back."""
    part = next((part for part in mail.walk() if part.get_content_type() == "text/plain"), None)
    payload = part.get_payload(decode=True) if part is not None else None
    text = payload.decode("utf-8", "replace").lower() if isinstance(payload, bytes) else ""
    copy = _COPY.search(text)
    return (text[: copy.start()] if copy else text)[:MOST_TEXT]
