"""Webhooks and callbacks that are forged, copied, or hostile though they are signed: the answer of each."""

import json
import sqlite3
from contextlib import closing
from typing import Any
from urllib.parse import urlencode

from tests.hostile.genuine import AU, EMAIL, KYC, SMS, idenfy, standard_webhooks, twilio
from tests.hostile.requests import raw, status_of
from tests.hostile.served import say
from tests.inbound.web.site import FIRST, HOOKS, Site
from tests.inbound.web.test_callbacks import ADDRESS, BOUNCED, STOPPED
from tests.inbound.web.test_webhooks import DONE, VERIFIED

JSON = {"Content_Type": "application/json"}
RIGHT = json.dumps(VERIFIED).encode()
STOP = urlencode(STOPPED).encode()
BOUNCE = json.dumps(BOUNCED).encode()
RESULT = json.dumps(DONE).encode()


def hook(body: bytes = RIGHT, path: str = KYC, **how: Any) -> bytes:
    return raw(body, path=path, **{**JSON, **how})


def kyc(signature: str | None, **how: Any) -> bytes:
    return hook(known=False, Idenfy_Signature=signature, **how)


def mail(body: bytes = BOUNCE, **how: Any) -> bytes:
    return hook(body, EMAIL, known=False, more=standard_webhooks(body, **how))


def text(body: bytes = STOP, *, path: str = SMS, **how: Any) -> bytes:
    return raw(body, path=path, known=False, more=twilio(body, **how), Content_Type=None)


SIGNATURE = idenfy(RIGHT)["Idenfy-Signature"]
DEEP = b'{"data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
CASES: dict[str, tuple[bytes, int]] = {
    # iDenfy
    "iDenfy: genuine": (hook(), 200),
    "iDenfy: unsigned": (kyc(None), 401),
    "iDenfy: an empty signature": (kyc(""), 401),
    "iDenfy: a wrong one": (kyc("0" * 64), 401),
    "iDenfy: in capitals": (kyc(SIGNATURE.upper()), 401),
    "iDenfy: cut": (kyc(SIGNATURE[:-1]), 401),
    "iDenfy: with a blank inside": (kyc(SIGNATURE[:32] + " " + SIGNATURE[32:]), 401),
    "iDenfy: by an empty key": (kyc(idenfy(RIGHT, key="")["Idenfy-Signature"]), 401),
    "iDenfy: by the account's API key": (kyc(idenfy(RIGHT, key="0000")["Idenfy-Signature"]), 401),
    "iDenfy: of other bytes": (hook(RIGHT + b" ", known=False, Idenfy_Signature=SIGNATURE), 401),
    "iDenfy: a key of events": (hook(known=False, Authorization=f"Bearer {FIRST}"), 401),
    "iDenfy: an account without a key": (hook(path="/webhooks/mute"), 401),
    "iDenfy: an account that is not there": (hook(path="/webhooks/other"), 404),
    "iDenfy: an account in capitals": (hook(path="/webhooks/KYC"), 404),
    "iDenfy: the same once more": (hook(), 200),
    "iDenfy: the same as another event": (hook(Idenfy_Event_Type="IDENTIFICATION_AUTO_FINISHED"), 200),
    "iDenfy: no JSON": (hook(b"{"), 200),  # signed: to be kept as unreadable, and not to be sent again
    "iDenfy: a list": (hook(b"[]"), 200),
    "iDenfy: 100,000 deep": (hook(DEEP), 200),
    "iDenfy: a key twice": (hook(RIGHT.replace(b'"final"', b'"final": false, "final"')), 200),
    "iDenfy: no UTF-8": (hook(b'{"scanRef": "\xff"}'), 200),
    "iDenfy: a reference that is an object": (hook(json.dumps({**VERIFIED, "scanRef": {"$ne": 1}}).encode()), 200),
    "iDenfy: a reference of 100 KB": (hook(json.dumps({**VERIFIED, "scanRef": "a" * 100_000}).encode()), 200),
    "iDenfy: a time in the year 300,000": (hook(json.dumps({**VERIFIED, "finishTime": 10**13}).encode()), 200),
    "iDenfy: a time beyond all clocks": (hook(json.dumps({**VERIFIED, "finishTime": 1e300}).encode()), 200),
    "iDenfy: a status that is a number": (hook(json.dumps({**VERIFIED, "status": 5}).encode()), 200),
    "iDenfy: an event's name of 5,000 signs": (hook(Idenfy_Event_Type="A" * 5000), 200),
    "iDenfy: packed": (hook(Content_Encoding="gzip"), 415),
    "iDenfy: by another method": (raw(b"", method="GET", path=KYC), 405),
    "iDenfy: a second signature": (hook(more=[("idenfy-signature", "0" * 64)]), 400),
    # FrankieOne, known by a segment of the path
    "FrankieOne: genuine": (hook(RESULT, AU), 200),
    "FrankieOne: no segment": (hook(RESULT, "/webhooks/au"), 401),
    "FrankieOne: a wrong one": (hook(RESULT, "/webhooks/au/wrong/r-1"), 401),
    "FrankieOne: an empty one": (hook(RESULT, "/webhooks/au//r-1"), 401),
    "FrankieOne: not the first": (hook(RESULT, f"/webhooks/au/r-1/{HOOKS['PATH_SECRET']}"), 401),
    "FrankieOne: in capitals": (hook(RESULT, f"/webhooks/au/{HOOKS['PATH_SECRET'].upper()}/r-1"), 401),
    "FrankieOne: with a NUL": (hook(RESULT, f"/webhooks/au/{HOOKS['PATH_SECRET']}%00/r-1"), 401),
    "FrankieOne: a part of it": (hook(RESULT, f"/webhooks/au/{HOOKS['PATH_SECRET'][:-1]}/r-1"), 401),
    "FrankieOne: no JSON": (hook(b"{", AU), 400),
    "FrankieOne: a list": (hook(b"[]", AU), 400),
    "FrankieOne: nothing": (hook(b"", AU), 400),
    "FrankieOne: 100,000 deep": (hook(DEEP, AU), 400),
    "FrankieOne: an entity that is a list": (hook(json.dumps({**DONE, "entityId": ["e"]}).encode(), AU), 200),
    # Twilio
    "Twilio: genuine": (text(), 204),
    "Twilio: unsigned": (raw(STOP, path=SMS, known=False), 401),
    "Twilio: by another key": (text(key="another"), 401),
    "Twilio: for another host": (text(url=ADDRESS.replace("verify.", "evil.")), 401),
    "Twilio: for http": (text(url=ADDRESS.replace("https", "http")), 401),
    "Twilio: with a query that was not signed": (text(path=f"{SMS}?a=b"), 401),
    "Twilio: with a query that was signed": (text(path=f"{SMS}?a=b", url=f"{ADDRESS}?a=b"), 204),
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


def kept(web: Site) -> int:
    """How many webhooks are in the database."""
    with closing(sqlite3.connect(str(web.parts.settings.database.url).removeprefix("sqlite:///"))) as database:
        (count,) = database.execute("SELECT count(*) FROM webhook").fetchone()
    return int(count)


def test_a_webhook_is_answered_by_its_fault_and_a_strangers_is_not_kept(web: Site, port: int, subtests):
    for what in CASES:
        with subtests.test(case=what):
            request, status = CASES[what]
            before = kept(web)

            answer = say(port, request)

            assert status_of(answer) == status
            assert kept(web) == before or status in (200, 204)
            assert not [
                word for word in (b"Quirin", b"ona@", HOOKS["PATH_SECRET"].encode(), b"37060000") if word in answer
            ]
