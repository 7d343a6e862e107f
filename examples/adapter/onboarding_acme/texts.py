"""The senders of an invented service, Acme Texts: POST /v1/messages sends one text or one WhatsApp message.

It accepts the same message twice, and has no list of its messages. Copy it, and replace each table by your service's
documents.
"""

import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

from onboarding_worker.adapters.bodies import BadAnswer, json_object, retry_after
from onboarding_worker.core.model.endings import AddressIs, Kind, Problem
from onboarding_worker.senders.contract import (
    Broken,
    DeliveryStatus,
    DeliveryUpdate,
    HttpAnswer,
    HttpRequest,
    MayWrite,
    Message,
    NoLookUp,
    NotUnderstood,
    Receipt,
    Stop,
    TextCallbacks,
    TextFacts,
    TextService,
    TextSettings,
    TextTools,
    mask,
)
from onboarding_worker.senders.twilio import ask
from onboarding_worker.templates.content import content_of

Read = TypeVar("Read")
LONGEST_WAIT = timedelta(minutes=5)  # the longest that Acme documents
KINDS = {400: Kind.BAD_INPUT, 402: Kind.OUT_OF_CREDIT, 422: Kind.BAD_INPUT, 429: Kind.RATE_LIMITED, 503: Kind.TRANSIENT}
# What a refusal says about the number; any other says that this message is refused.
NUMBERS = {
    "no_such_number": AddressIs.GONE,
    "opted_out": AddressIs.OPTED_OUT,
    "not_on_whatsapp": AddressIs.ELSEWHERE,  # a text follows by itself
}
STATUSES = {
    "delivered": DeliveryStatus.DELIVERED,
    "no_such_number": DeliveryStatus.BOUNCED,
    "not_on_whatsapp": DeliveryStatus.ELSEWHERE,
    "blocked": DeliveryStatus.BLOCKED,
}
STOPS = {"no_such_number": Stop.BOUNCED, "opted_out": Stop.STOPPED}
SIGNATURE = "x-acme-signature"


class AcmeTexts(NoLookUp):
    """A channel to phones, for one account."""

    no_look_up = "Acme documents no list of its messages"

    def __init__(self, settings: TextSettings, tools: TextTools) -> None:
        self._settings, self._tools = settings, tools
        self._url = f"{settings.base_url.rstrip('/')}/v1"

    def repeatable(self) -> bool:
        return self._tools.repeat_unknown  # Acme accepts the same message twice

    async def preflight(self) -> Problem | None:
        found = await self._ask("GET", "/account", lambda answer: self._problem(answer, ""))
        # Another answer says nothing about messages: only a refused log-in keeps them back.
        return found if found.unreachable or found.kind is Kind.AUTH else None

    async def send(self, message: Message, may_write: MayWrite | None = None) -> Receipt | Problem:
        fields = {
            "to": message.to,
            "from": self._settings.from_,
            "channel": self._tools.channel,
            **self._words(message),
        }
        if self._tools.callback:
            fields["report_to"] = self._tools.callback
        body = json.dumps(fields).encode()
        return await self._ask("POST", "/messages", lambda answer: self._receipt(answer, message.to), body, may_write)

    async def close(self) -> None:
        await self._tools.http.close()

    def _receipt(self, answer: HttpAnswer, to: str) -> Receipt | Problem:
        try:
            found = json_object(answer.body)
        except BadAnswer:
            found = {}
        if 200 <= answer.status < 300 and isinstance(found.get("id"), str) and found["id"].isalnum():
            return Receipt(found["id"])
        return self._problem(answer, to, found)

    def _words(self, message: Message) -> dict[str, Any]:
        if self._tools.channel == "sms":
            return {"text": message.text}
        content = content_of(message.text)  # `whatsapp.txt` names an approved template
        return {"template": content.sid, "values": dict(content.values)}

    async def _ask(
        self,
        method: str,
        path: str,
        read: Callable[[HttpAnswer], Read | Problem],
        body: bytes = b"",
        may_write: MayWrite | None = None,
    ) -> Read | Problem:
        """What `read` makes of the answer. After a 401 the token is read again, and the call made once more."""

        def build(token: str) -> HttpRequest:
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            return HttpRequest(method, f"{self._url}{path}", headers, body)

        def read_it(answer: HttpAnswer | Broken) -> Read | Problem:
            if isinstance(answer, Broken):  # `sent`: the message may have gone out
                kind = Kind.UNKNOWN if answer.sent else Kind.TRANSIENT
                return Problem(kind, f"Acme: {answer.detail}", unreachable=not answer.sent)
            return read(answer)

        timeout = self._settings.timeout
        return await ask(self._tools.http, self._settings.token, build, read_it, timeout=timeout, may_write=may_write)

    def _problem(self, answer: HttpAnswer, to: str, found: Mapping[str, Any] | None = None) -> Problem:
        """`detail` holds our own words and the documented code; Acme's words are kept apart, masked."""
        given = (found or {}).get("code"), (found or {}).get("title")
        code, title = (text if isinstance(text, str) else "" for text in given)
        kind = KINDS.get(answer.status, Kind.UNKNOWN)  # a 2xx without an id, a 5xx: it may have gone out
        if 300 <= answer.status < 400 or answer.status in (401, 403, 404):
            kind = Kind.AUTH  # the key, or the address, is wrong
        about_the_number = kind is Kind.BAD_INPUT
        return Problem(
            kind,
            f"Acme HTTP {answer.status}" + (f" {code}" if code in NUMBERS else ""),
            status=answer.status,
            address=NUMBERS.get(code, AddressIs.REFUSED) if about_the_number else None,
            retry_after=retry_after(answer.headers, self._tools.now(), longest=LONGEST_WAIT),
            words=mask(title, (to, to.removeprefix("+"))) if to else "",
        )


def _unsigned(headers: Mapping[str, str]) -> str:
    return "" if headers.get(SIGNATURE) else f"there is no {SIGNATURE}"


def _refusal(headers: Mapping[str, str], body: bytes, url: str, keys: Iterable[str]) -> str:
    signed = headers.get(SIGNATURE, "").encode(errors="replace")
    genuine = [hmac.new(key.encode(), body, hashlib.sha256).hexdigest().encode() for key in keys]
    return "" if any([hmac.compare_digest(signed, one) for one in genuine]) else "it is signed with another key"


def _report(body: bytes) -> DeliveryUpdate | NotUnderstood:
    try:
        found = json_object(body)
    except BadAnswer as error:
        return NotUnderstood(str(error))
    reference, status, number = (found.get(name) for name in ("id", "status", "to"))
    if not isinstance(reference, str) or not isinstance(status, str):
        return NotUnderstood("id or status is no text")
    known = status if status in STATUSES or status in STOPS else "other"
    address = number if isinstance(number, str) else ""
    return DeliveryUpdate(known, reference, address, status=STATUSES.get(status), stop=STOPS.get(status))


TEXT_SERVICE = TextService(
    facts=TextFacts(host="https://api.acme-texts.example", channels=("sms", "whatsapp")),
    sender=AcmeTexts,
    callbacks=TextCallbacks(unsigned=_unsigned, refusal=_refusal, signed_part=lambda body: body, read=_report),
)
