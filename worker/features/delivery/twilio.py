"""Reads Twilio's callbacks: deliveries of our texts and WhatsApp messages, and answers to them.

Requests are signed with the account's token: HMAC-SHA1 over the address that Twilio was given, and over each
parameter's name and value in the order of the names. Facts: docs/reference/webhooks.md.
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import parse_qsl, urlsplit

from onboarding_worker.core.model.endings import AddressIs
from onboarding_worker.core.model.stops import About
from onboarding_worker.senders import contract
from onboarding_worker.senders.contract import DeliveryStatus, DeliveryUpdate, NotUnderstood, Said, Stop
from onboarding_worker.senders.twilio_answers import PREFIX, TEXTS, WHATSAPP

SIGNATURE = "x-twilio-signature"
LARGEST = 64 * 1024
MOST_FIELDS = 200
PORTS = {"https": 443, "http": 80}
# Statuses without a result: the answer to our own call, or a text that is not delivered yet.
UNDECIDED = ("accepted", "scheduled", "queued", "sending", "sent", "read")
LOST = ("undelivered", "failed")
STOPS = {AddressIs.GONE: Stop.BOUNCED, AddressIs.OPTED_OUT: Stop.STOPPED}
# Twilio's own words. The whole answer must be one of them.
STOP_WORDS = {"stop", "stopall", "stop all", "unsubscribe", "cancel", "end", "quit", "revoke", "optout", "opt out"}
# The same word in the other languages of our texts.
STOP_WORDS |= {"stopp", "arret", "arrêt", "baja"}


def unsigned(headers: Mapping[str, str]) -> str:
    """As `refusal`, by the headers alone, so that the body of a forged request is not read."""
    return "" if headers.get(SIGNATURE) else "it is not signed"


def refusal(headers: Mapping[str, str], body: bytes, url: str, keys: Iterable[str]) -> str:
    """Why the callback is not Twilio's; "" if it is. Never raises, and names no value. `headers` has lower-case names.
    `url` is the whole address with its query, as Twilio was given it: not the address that a proxy passes on."""
    given = headers.get(SIGNATURE, "")
    if not given:
        return "it is not signed"
    pairs = _pairs(body)
    if pairs is None:
        return "it is not a form, or too large"
    wanted = [signature(key, one, pairs).encode() for key in keys for one in _addresses(url)]
    fits = [hmac.compare_digest(given.encode("utf-8", "surrogatepass"), one) for one in wanted]
    return "" if any(fits) else "no key of ours verifies its signature, or it was signed for another address"


def signature(key: str, url: str, pairs: Sequence[tuple[str, str]]) -> str:
    signed = url.encode("utf-8", "surrogatepass") + _signed(pairs)
    return base64.b64encode(hmac.new(key.encode(), signed, hashlib.sha1).digest()).decode("ascii")


def signed_part(body: bytes) -> bytes:
    """The part of the form that the signature covers: the same bytes for every spelling with a valid signature, such as
    another order of the fields. The body itself if it is not a form."""
    pairs = _pairs(body)
    return body if pairs is None else _signed(pairs)


def _signed(pairs: Sequence[tuple[str, str]]) -> bytes:
    """The names and values in order. A repeated parameter with the same value counts once, as in Twilio's libraries."""
    return "".join(name + value for name, value in sorted(set(pairs))).encode()


def read(body: bytes) -> DeliveryUpdate | NotUnderstood:
    """The update in the callback. Never raises on the bytes that were sent."""
    pairs = _pairs(body)
    if pairs is None:
        return NotUnderstood("the callback is not a form")
    fields = dict(pairs)
    if len(fields) != len(pairs):
        return NotUnderstood("the callback has a field twice")
    status = (fields.get("MessageStatus") or fields.get("SmsStatus") or "").lower()
    if status in ("received", "receiving") or ("Body" in fields and not fields.get("MessageStatus")):
        return _answer(fields)
    by_whatsapp = fields.get("To", "").startswith(PREFIX)
    sid = fields.get("MessageSid") or fields.get("SmsSid") or ""
    if not (sid.isascii() and sid.isalnum() and len(sid) <= 64):
        return NotUnderstood("the callback names no message")
    if status == "delivered" or (status == "read" and by_whatsapp):
        return DeliveryUpdate(status, sid, status=DeliveryStatus.DELIVERED)
    if status in LOST:
        code = fields.get("ErrorCode", "")
        code = code if code.isascii() and code.isdigit() and len(code) <= 6 else ""
        said = _lost(code, by_whatsapp=by_whatsapp)._replace(code=code)
        return DeliveryUpdate(status, sid, _number(fields, "To"), **said._asdict())
    return DeliveryUpdate(status if status in UNDECIDED else "unknown", sid)


def _lost(code: str, *, by_whatsapp: bool) -> Said:
    """What became of a message that did not arrive, and of its number, by Twilio's code, as in an answer. What Twilio
    reports of a WhatsApp message is final: Twilio does not try it again, and a text may reach the number."""
    if not code:
        return contract.NOT_TAKEN
    said = (WHATSAPP if by_whatsapp else TEXTS).get(int(code))
    if said is None:
        return contract.NOT_KNOWN
    if said.address in STOPS:
        return Said(DeliveryStatus.BOUNCED, STOPS[said.address], said.about)
    if said.address is AddressIs.ELSEWHERE:
        return Said(DeliveryStatus.ELSEWHERE, about=said.about)
    if said.about is About.US:
        return contract.ours(said.words)
    return (
        contract.NOT_YET
        if said.about is About.WAY and not by_whatsapp
        else contract.NOT_TAKEN._replace(about=said.about)
    )


def _answer(fields: Mapping[str, str]) -> DeliveryUpdate:
    """The update in a customer's text. It is only compared with the STOP and START words, and is not kept. With
    Twilio's Advanced Opt-Out the account has its own words, and Twilio reports their meaning."""
    answer = " ".join(fields.get("Body", "")[:100].split()).rstrip(".!").casefold()
    meant = fields.get("OptOutType", "").upper()
    stop = meant == "STOP" or answer in STOP_WORDS
    start = not stop and (meant == "START" or answer in ("start", "unstop"))
    return DeliveryUpdate("answer", address=_number(fields, "From"), stop=Stop.STOPPED if stop else None, resume=start)


def _number(fields: Mapping[str, str], name: str) -> str:
    number = fields.get(name, "").removeprefix(PREFIX)
    digits = number.removeprefix("+")
    return number if digits.isascii() and digits.isdigit() and len(digits) <= 15 else ""


def _pairs(body: bytes) -> list[tuple[str, str]] | None:
    """The form's fields; None if the body is not a form."""
    if len(body) > LARGEST:
        return None
    try:
        return parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
    except ValueError:
        return None


def _addresses(url: str) -> list[str]:
    """The address with and without its scheme's default port: Twilio signs sometimes one, sometimes the other."""
    try:
        parts = urlsplit(url)
        host, port, own = parts.hostname, parts.port, PORTS.get(parts.scheme)
    except ValueError:
        return [url]
    if host is None or own is None or port not in (None, own):
        return [url]
    bare = parts.netloc.removesuffix(f":{own}")
    return [parts._replace(netloc=bare).geturl(), parts._replace(netloc=f"{bare}:{own}").geturl(), url]
