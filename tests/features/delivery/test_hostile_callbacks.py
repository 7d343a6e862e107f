"""Callbacks that are forged, copied, or hostile though they are signed: the answer of each."""

import json
from typing import Any
from urllib.parse import urlencode

from tests.features.delivery.test_callbacks import BOUNCED, STOPPED
from tests.hostile.genuine import ADDRESS, EMAIL, SMS, standard_webhooks, twilio
from tests.hostile.requests import raw, status_of
from tests.hostile.served import say
from tests.hostile.test_webhooks import hook, kept
from tests.web.site import Site

STOP = urlencode(STOPPED).encode()
BOUNCE = json.dumps(BOUNCED).encode()


def mail(body: bytes = BOUNCE, **how: Any) -> bytes:
    return hook(body, EMAIL, known=False, more=standard_webhooks(body, **how))


def text(body: bytes = STOP, *, path: str = SMS, **how: Any) -> bytes:
    return raw(body, path=path, known=False, more=twilio(body, **how), Content_Type=None)


CASES: dict[str, tuple[bytes, int]] = {
    # Twilio
    "Twilio: genuine": (text(), 204),
    "Twilio: unsigned": (raw(STOP, path=SMS, known=False), 401),
    "Twilio: by another key": (text(key="another"), 401),
    "Twilio: for another host": (text(url=ADDRESS.replace("verify.", "evil.")), 401),
    "Twilio: for http": (text(url=ADDRESS.replace("https", "http")), 401),
    "Twilio: with a query that was not signed": (text(path=f"{SMS}?a=b%20c"), 401),
    "Twilio: with a query that was signed": (text(path=f"{SMS}?a=b%20c", url=f"{ADDRESS}?a=b%20c"), 204),
    "Twilio: without the query that was signed": (text(url=f"{ADDRESS}?a=b%20c"), 401),
    "Twilio: another number": (
        raw(STOP.replace(b"0001", b"0002"), path=SMS, known=False, Content_Type=None, more=twilio(STOP)),
        401,
    ),
    "Twilio: a field twice": (text(STOP + b"&From=%2B37060000002"), 204),
    "Twilio: 2,000 fields": (text(b"&".join(b"a%d=b" % number for number in range(2000))), 401),
    "Twilio: 70 KB": (text(b"Body=" + b"a" * 70_000), 413),
    "Twilio: bytes that are no UTF-8": (text(b"Body=%FF%FE&From=%2B37060000001"), 401),
    "Twilio: nothing": (text(b""), 204),
    "Twilio: at the mail system's address": (text(path=EMAIL), 401),
    "Twilio: a second signature": (
        raw(STOP, path=SMS, known=False, Content_Type=None, more=[*twilio(STOP).items(), ("x-twilio-signature", "a")]),
        400,
    ),
    # A mail system, signed by Standard Webhooks
    "mail: genuine": (mail(), 200),
    "mail: unsigned": (hook(BOUNCE, EMAIL, known=False), 401),
    "mail: six minutes old": (mail(late=360), 401),
    "mail: six minutes ahead": (mail(late=-360), 401),
    "mail: by another key": (mail(key=b"another"), 401),
    "mail: at Twilio's address": (hook(BOUNCE, SMS, known=False, more=standard_webhooks(BOUNCE)), 401),
    "mail: the same once more": (mail(), 200),
    "mail: a second time": (
        hook(BOUNCE, EMAIL, known=False, more=[*standard_webhooks(BOUNCE).items(), ("Webhook-Timestamp", "1")]),
        400,
    ),
    "mail: no JSON": (mail(b"{"), 400),  # our own form: whoever writes it is told what is wrong
    "mail: a list": (mail(b"[]"), 400),
    "mail: an address with a line break": (
        mail(json.dumps({**BOUNCED, "email": "a@example.com\r\nBcc: b"}).encode()),
        200,
    ),
    "mail: an address that is an object": (mail(json.dumps({**BOUNCED, "email": {"a": 1}}).encode()), 400),
    "mail: another type": (mail(b'{"type": "opened"}'), 200),
    "mail: another sender": (hook(BOUNCE, "/callbacks/pigeon"), 404),
}


def test_a_callback_is_answered_by_its_fault_and_a_strangers_is_not_kept(web: Site, port: int, subtests):
    for what in CASES:
        with subtests.test(case=what):
            request, status = CASES[what]
            before = kept(web)

            answer = say(port, request)

            assert status_of(answer) == status
            assert kept(web) == before or status in (200, 204)
            assert not [word for word in (b"ona@", b"37060000") if word in answer]
