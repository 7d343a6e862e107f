"""Reads mails that come to a return path: reports of delivery (RFC 3464, RFC 6533), complaints (RFC 5965), bounces in
words, and the mails that mail programs send for `List-Unsubscribe` (RFC 2369).

Strangers write these mails. So a mail is bounded in size, in parts and in depth before it is parsed, and only a report
that came to a return path that we signed is used (`return_path`). The address in a report is not read: it may be that
of a forward, and is personal.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from email import message_from_bytes
from email.message import Message
from email.parser import HeaderParser
from email.policy import Compat32, compat32
from email.utils import parseaddr
from itertools import islice

from onboarding_worker.senders.contract import DeliveryStatus, DeliveryUpdate, NotUnderstood, Stop
from onboarding_worker.senders.smtp_answers import UNKNOWN_MAILBOX, of_permanent_failure

UNSUBSCRIBE = "unsubscribe"  # the subject of a mail to a return path that asks for no more mails
MOST_WORDS = 4_000  # characters of the words; the mail that came back follows
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

LARGEST = 256 * 1024  # bytes that are read of a mail; the report comes before the mail that came back
MOST_BOUNDARIES = 20  # a report has one, the mail in it a few; they bound the depth too
MOST_PARTS = 50  # with the groups of fields in a report
MOST_TEXT = 2_000  # characters of one header
# The headers in which mail systems write the address that a mail came to.
CAME_TO = ("Delivered-To", "X-Original-To", "Envelope-To", "X-Envelope-To", "X-Delivered-To", "To")
# With its further lines. The parser looks for the boundary in a time that grows with the square of its length: a quote
# and 250,000 semicolons took a minute and a half.
_CONTENT_TYPE = re.compile(rb"(?:\A|[\r\n])content-type:(?:[^\r\n]|[\r\n]+[ \t])*+")
STATUS = re.compile(r"\s{0,9}([245]\.\d{1,3}\.\d{1,3})(?!\d)")
IN_TEXT = re.compile(r"\b([245]\.\d{1,3}\.\d{1,3})\b")
GLOBAL_REPORT = "message/global-delivery-status"  # RFC 6533's, for addresses with letters beyond ASCII
REPORTS = ("message/delivery-status", GLOBAL_REPORT)
RETURNED = ("text/rfc822-headers", "message/global-headers", "message/rfc822", "message/global")
# In the order of their weight: a report may have several recipients, after a forward.
ACTIONS = ("failed", "delivered", "delayed", "relayed", "expanded")
KeyIn = Callable[[str], str | None]


def read_text(mail: Message, key: str) -> DeliveryUpdate | NotUnderstood:
    """The update in a mail that is no report. `key`: of the mail that it is about."""
    sender = parseaddr(str(mail.get("From", ""))[:MOST_WORDS])[1].partition("@")[0].lower()
    if not mail.get("X-Failed-Recipients") and sender not in SYSTEMS:  # the header is Exim's
        return NotUnderstood("it has no report of a delivery")
    # The words for people, in lower case, without the mail that came back.
    part = next((part for part in mail.walk() if part.get_content_type() == "text/plain"), None)
    payload = part.get_payload(decode=True) if part is not None else None
    text = payload.decode("utf-8", "replace").lower() if isinstance(payload, bytes) else ""
    text = _COPY.split(text, maxsplit=1)[0][:MOST_WORDS]
    found = _CODE.search(text)
    code = found[1] if found else ""
    if code.startswith("4") or (not code and _DELAYED.search(text)):
        return DeliveryUpdate("delayed", key, status=DeliveryStatus.LATER)
    unknown = UNKNOWN_MAILBOX.search(text) is not None
    if not (code.startswith("5") or unknown or _REFUSED.search(text)):
        return NotUnderstood("it has no report of a delivery")
    return _bounced(key, code, text)


def _bounced(key: str, code: str, text: str) -> DeliveryUpdate:
    # Not whom it is about: nobody signs these mails, and none says that a mail arrived.
    said = of_permanent_failure("" if code.endswith(".0.0") else code, text)
    return DeliveryUpdate("bounced", key, status=said.status, stop=said.stop, code=code)


NOT_OURS = NotUnderstood("it came to no return path that we have signed")


class _TooMany(Exception):
    """The mail has more than MOST_PARTS."""


class _Parts:
    """Makes the parser's objects for the parts of one mail, so that it ends at the first one too many: each blank line
    in a report begins a group of fields, and a line of three bytes begins a part."""

    def __init__(self) -> None:
        self._left = MOST_PARTS + 1  # the parser makes one at its start that it does not use

    def __call__(self, policy: Compat32 = compat32) -> Message:
        if not self._left:
            raise _TooMany
        self._left -= 1
        return Message(policy)


def read(raw: bytes, key_in: KeyIn) -> DeliveryUpdate | NotUnderstood:
    """The update in a mail. `key_in` finds the key of one of our mails in a text. Never raises. NotUnderstood is a mail
    that a person may want to read: an answer, a notice, a report that is not about our mails."""
    lowered = raw[:LARGEST].lower()
    if lowered.count(b"boundary") > MOST_BOUNDARIES or lowered.count(b"message/") > MOST_BOUNDARIES:
        return NotUnderstood("it has too many parts")
    if any(len(found[0]) > MOST_TEXT for found in _CONTENT_TYPE.finditer(lowered)):
        return NotUnderstood("it has a header that is too long")
    try:
        return _read(message_from_bytes(raw[:LARGEST], _Parts(), policy=compat32), key_in)
    except _TooMany:
        return NotUnderstood("it has too many parts")
    except Exception as error:  # the parser raises many kinds for what strangers write
        return NotUnderstood(f"it cannot be read as a mail ({type(error).__name__})")


def _read(mail: Message, key_in: KeyIn) -> DeliveryUpdate | NotUnderstood:
    parts = list(mail.walk())
    key = _key(_values(mail, CAME_TO), key_in)
    for part in parts:
        if part.get_content_type() == "message/feedback-report":
            if all(str(one.get("Feedback-Type", "")).strip().lower() != "abuse" for one in _blocks(part)):
                return NotUnderstood("its report is not about abuse")
            key = key or _key(_returned(parts), key_in)
            return NOT_OURS if key is None else DeliveryUpdate("complained", key, stop=Stop.COMPLAINED)
    report = next((part for part in parts if part.get_content_type() in REPORTS), None)
    if report is None:
        if key is not None and str(mail.get("Subject", ""))[:MOST_TEXT].strip().lower() == UNSUBSCRIBE:
            return DeliveryUpdate("unsubscribed", key, stop=Stop.STOPPED)
        if key is not None and isinstance(found := read_text(mail, key), DeliveryUpdate):
            return found
        automatic = str(mail.get("Auto-Submitted", "no")).strip().lower() not in ("", "no")
        return NotUnderstood("it is an automatic answer" if automatic else "it has no report of a delivery")
    return NOT_OURS if key is None else _delivery(report, key)


def _delivery(report: Message, key: str) -> DeliveryUpdate | NotUnderstood:
    known = filter(_action, _blocks(report))
    block = min(known, key=lambda one: ACTIONS.index(_action(one)), default=None)
    if block is None:
        return NotUnderstood("its report names no action that we know")
    match _action(block):
        case "failed":
            return _bounced(key, *_code(block))
        case "delivered":
            return DeliveryUpdate("delivered", key, status=DeliveryStatus.DELIVERED)
        case action:
            return DeliveryUpdate(action, key, status=DeliveryStatus.LATER if action == "delayed" else None)


def _blocks(part: Message) -> list[Message]:
    """The groups of fields in a report."""
    payload = part.get_payload()
    blocks = [block for block in payload if isinstance(block, Message)] if isinstance(payload, list) else []
    if _is_encoded(part):
        return _groups(_decoded(part))
    if part.get_content_type() == GLOBAL_REPORT:  # the parser knows no groups in it: the further ones are its content
        return [one for block in blocks for one in (block, *_groups(_content(block)))]
    return blocks


def _groups(text: str) -> list[Message]:
    texts = [group for group in re.split(r"\r?\n[ \t]*\r?\n", text, maxsplit=MOST_PARTS) if group.strip()]
    if len(texts) > MOST_PARTS:
        raise _TooMany
    return [HeaderParser(policy=compat32).parsestr(group.strip("\r\n")) for group in texts]


def _is_encoded(part: Message) -> bool:
    return str(part.get("Content-Transfer-Encoding", "")).strip().lower() in ("base64", "quoted-printable")


def _decoded(part: Message) -> str:
    """The content of an encoded part. The parser takes what is in a `message/…` for a mail, encoded or not."""
    payload = part.get_payload()
    whole = Message(compat32)
    whole["Content-Transfer-Encoding"] = str(part["Content-Transfer-Encoding"]).strip()
    whole.set_payload("\n".join(map(str, payload)) if isinstance(payload, list) else payload)
    decoded = whole.get_payload(decode=True)
    return decoded.decode("utf-8", "replace") if isinstance(decoded, bytes) else ""


def _content(block: Message) -> str:
    payload = block.get_payload()
    return payload if isinstance(payload, str) else ""


def _action(block: Message) -> str:
    words = str(block["Action"])[:MOST_TEXT].lower().split()
    return words[0] if words and words[0] in ACTIONS else ""


def _code(block: Message) -> tuple[str, str]:
    """The status code of RFC 3463, "" if there is none, and the other system's words in lower case."""
    text = str(block.get("Diagnostic-Code", ""))[:MOST_TEXT].lower()
    match = STATUS.match(str(block.get("Status", "")))
    if match and not match[1].endswith(".0.0"):
        return match[1], text
    more = IN_TEXT.search(text)  # a relay's own status is often just "5.0.0"
    return (more[1] if more else match[1] if match and not UNKNOWN_MAILBOX.search(text) else ""), text


def _returned(parts: Sequence[Message]) -> list[str]:
    """Return paths in the headers of a mail that came back as a whole."""
    texts = [value for part in parts for value in _values(part, ("Return-Path",))]
    returned = [part for part in parts if part.get_content_type() in RETURNED]
    headers = [_decoded(part) if _is_encoded(part) else _content(part) for part in returned]
    return texts + [text[: 10 * MOST_TEXT] for text in headers]


def _values(mail: Message, names: Iterable[str]) -> list[str]:
    return [str(value)[:MOST_TEXT] for name in names for value in islice(mail.get_all(name, []), 5)]


def _key(texts: Iterable[str], key_in: KeyIn) -> str | None:
    return next((key for text in texts if (key := key_in(text)) is not None), None)
