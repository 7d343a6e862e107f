"""What Twilio tells of a text that it took, and of answers to it (providers.md 8.2).

Requests are signed with the account's token: HMAC-SHA1 over the address as Twilio was given it, and each parameter's
name and value in the order of the names.
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import parse_qsl, urlsplit

from worker.domain.contact.delivery_reports import DeliveryStatus, DeliveryUpdate, NotUnderstood, Stop
from worker.domain.model.endings import Kind
from worker.senders.twilio_answers import KINDS, OPTED_OUT

SIGNATURE = "x-twilio-signature"
LARGEST = 64 * 1024
MOST_FIELDS = 200
PORTS = {"https": 443, "http": 80}
# On its way: the answer to our own call, or nothing that is decided yet.
UNDECIDED = ("accepted", "scheduled", "queued", "sending", "sent", "read")
LOST = ("undelivered", "failed")
GONE = ("30005", "30006")  # no such number; a number that takes no texts
# Twilio's own words. The whole answer has to be one.
STOP_WORDS = frozenset(
    ["stop", "stopall", "stop all", "unsubscribe", "cancel", "end", "quit", "revoke", "optout", "opt out"]
)
# The same in the other languages that our texts are written in.
STOP_WORDS |= {"stopp", "arret", "arrêt", "baja"}
START_WORDS = frozenset(["start", "unstop"])


def refusal(headers: Mapping[str, str], body: bytes, *, url: str, keys: Iterable[str]) -> str:
    """Why the callback is not Twilio's; "" where it is. Never raises, and names no value.

    `headers` has lower-case names. `url` is the whole address, query included, as Twilio was given it: not what a
    proxy in front makes of it.
    """
    given = headers.get(SIGNATURE, "")
    if not given:
        return "it is not signed"
    pairs = _pairs(body)
    if pairs is None:
        return "it is no form, or too large"
    wanted = [signature(key, one, pairs).encode() for key in keys for one in _addresses(url)]
    fits = [hmac.compare_digest(given.encode("utf-8", "surrogatepass"), one) for one in wanted]
    return "" if any(fits) else "its signature is of no key of ours, or of another address"


def signature(key: str, url: str, pairs: Sequence[tuple[str, str]]) -> str:
    signed = url.encode("utf-8", "surrogatepass") + _signed(pairs)
    return base64.b64encode(hmac.new(key.encode(), signed, hashlib.sha1).digest()).decode("ascii")


def signed_part(body: bytes) -> bytes:
    """What the signature says of the form: the same for all the ways to write what it fits, such as in another order.

    The form as it came where it is none.
    """
    pairs = _pairs(body)
    return body if pairs is None else _signed(pairs)


def _signed(pairs: Sequence[tuple[str, str]]) -> bytes:
    """A parameter that is given twice with the same value counts once, as in Twilio's own libraries."""
    return "".join(name + value for name, value in sorted(set(pairs))).encode()


def read(body: bytes) -> DeliveryUpdate | NotUnderstood:
    """What the callback says. Never raises on what is sent."""
    pairs = _pairs(body)
    if pairs is None:
        return NotUnderstood("the callback is no form")
    said = dict(pairs)
    if len(said) != len(pairs):
        return NotUnderstood("the callback says a field twice")
    status = (said.get("MessageStatus") or said.get("SmsStatus") or "").lower()
    if status in ("received", "receiving") or ("Body" in said and not said.get("MessageStatus")):
        return _answer(said)
    sid = said.get("MessageSid") or said.get("SmsSid") or ""
    if not (sid.isascii() and sid.isalnum() and len(sid) <= 64):
        return NotUnderstood("the callback names no message")
    if status == "delivered":
        return DeliveryUpdate(status, sid, status=DeliveryStatus.DELIVERED)
    if status in LOST:
        code = said.get("ErrorCode", "")
        code = code if code.isascii() and code.isdigit() and len(code) <= 6 else ""
        return DeliveryUpdate(status, sid, _number(said, "To"), status=_status(code), stop=_stop(code), code=code)
    return DeliveryUpdate(status if status in UNDECIDED else "unknown", sid)


def _status(code: str) -> DeliveryStatus:
    """Twilio's code of why a text did not arrive. What is not known is not tried again."""
    kind = KINDS.get(int(code)) if code else None
    if kind in (Kind.TRANSIENT, Kind.RATE_LIMITED):
        return DeliveryStatus.LATER
    return DeliveryStatus.BOUNCED if code in GONE or code == str(OPTED_OUT) else DeliveryStatus.BLOCKED


def _stop(code: str) -> Stop | None:
    if code == str(OPTED_OUT):
        return Stop.STOPPED
    return Stop.BOUNCED if code in GONE else None


def _answer(said: Mapping[str, str]) -> DeliveryUpdate:
    """A text from a person. Only whether it says STOP is read, and nothing of it kept.

    With Twilio's Advanced Opt-Out the words are the account's own, and Twilio says what they meant.
    """
    words = " ".join(said.get("Body", "")[:100].split()).rstrip(".!").casefold()
    meant = said.get("OptOutType", "").upper()
    stop = meant == "STOP" or words in STOP_WORDS
    start = not stop and (meant == "START" or words in START_WORDS)
    return DeliveryUpdate("answer", address=_number(said, "From"), stop=Stop.STOPPED if stop else None, resume=start)


def _number(said: Mapping[str, str], name: str) -> str:
    number = said.get(name, "")
    digits = number.removeprefix("+")
    return number if digits.isascii() and digits.isdigit() and len(digits) <= 15 else ""


def _pairs(body: bytes) -> list[tuple[str, str]] | None:
    """The form's fields; None for what is no form."""
    if len(body) > LARGEST:
        return None
    try:
        return parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
    except ValueError:
        return None


def _addresses(url: str) -> list[str]:
    """The address with and without its scheme's own port: Twilio signs now the one, now the other."""
    try:
        parts = urlsplit(url)
        host, port, own = parts.hostname, parts.port, PORTS.get(parts.scheme)
    except ValueError:
        return [url]
    if host is None or own is None or port not in (None, own):
        return [url]
    bare = parts.netloc.removesuffix(f":{own}")
    return [parts._replace(netloc=bare).geturl(), parts._replace(netloc=f"{bare}:{own}").geturl(), url]
