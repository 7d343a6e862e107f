"""Webhooks that are forged, copied, or hostile though they are signed: the answer of each."""

import json
import sqlite3
from contextlib import closing
from typing import Any

from tests.hostile.genuine import AU, KYC, idenfy
from tests.hostile.requests import raw, status_of
from tests.hostile.served import say
from tests.web.site import FIRST, HOOKS, Site
from tests.web.test_webhooks import DONE, VERIFIED

JSON = {"Content_Type": "application/json"}
RIGHT = json.dumps(VERIFIED).encode()
RESULT = json.dumps(DONE).encode()


def hook(body: bytes = RIGHT, path: str = KYC, **how: Any) -> bytes:
    return raw(body, path=path, **{**JSON, **how})


def kyc(signature: str | None, **how: Any) -> bytes:
    return hook(known=False, Idenfy_Signature=signature, **how)


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
