"""Events that are posted by strangers, that are no JSON, or whose data is hostile: the answer of each."""

import json

from onboarding_worker.events.cloudevents import LARGEST_LIST
from onboarding_worker.settings.outside import hash_of
from tests.hostile.genuine import standard_webhooks
from tests.hostile.requests import GOOD, data, event, raw, status_of
from tests.hostile.served import say
from tests.web.site import EVENT, FIRST

LIST = "application/cloudevents-batch+json"


def shown(authorization: str | None, **more: str) -> bytes:
    return raw(known=False, Authorization=authorization, **more)


def signed(**how: object) -> bytes:
    return raw(known=False, more=standard_webhooks(GOOD, **how))  # type: ignore[arg-type]


def signed_but(**changes: str) -> bytes:
    return raw(
        known=False, more=standard_webhooks(GOOD) | {name.replace("_", "-"): text for name, text in changes.items()}
    )


def json_of(text: str | bytes, **how: str) -> bytes:
    return raw(text if isinstance(text, bytes) else text.encode(), **how)


def with_id(text: bytes) -> bytes:
    """An event whose id is written so in JSON."""
    return raw(GOOD.replace(b'"7"', text))


STRANGERS = {
    "no credentials": (shown(None), 401),
    "an empty header": (shown(""), 401),
    "an empty key": (shown("Bearer "), 401),
    "a wrong key": (shown("Bearer wrong"), 401),
    "a key and a letter": (shown(f"Bearer {FIRST}x"), 401),
    "a key without its end": (shown(f"Bearer {FIRST[:-1]}"), 401),
    "a key in capitals": (shown(f"Bearer {FIRST.upper()}"), 401),
    "the key's hash": (shown(f"Bearer {hash_of(FIRST)}"), 401),
    "two keys": (shown(f"Bearer {FIRST}, Bearer {FIRST}"), 401),
    "Basic": (shown("Basic c2lnbnVwOmtleQ=="), 401),
    "no scheme": (shown(FIRST), 401),
    "letters beyond ASCII": (shown("Bearer ключ"), 401),
    "bytes that are no UTF-8": (shown("Bearer \udcff\udcfe"), 401),
    "a key of 7,000 signs": (shown("Bearer " + "a" * 7000), 401),
    "SQL for a key": (shown("Bearer ' OR '1'='1"), 401),
    "the key in the address": (raw(known=False, path=f"/events?key={FIRST}&access_token={FIRST}"), 401),
    "the key in a cookie": (raw(known=False, Cookie=f"Authorization=Bearer {FIRST}"), 401),
    "the key under a proxy's name": (raw(known=False, more={"X-Forwarded-Authorization": f"Bearer {FIRST}"}), 401),
    "a wrong key first": (
        raw(known=False, more=[("Authorization", "Bearer no"), ("authorization", f"Bearer {FIRST}")]),
        400,
    ),
    "signed six minutes ago": (signed(late=360), 401),
    "signed in six minutes": (signed(late=-360), 401),
    "signed by another key": (signed(key=b"another-key-of-thirty-two-letters"), 401),
    "signed by an empty key": (signed(key=b""), 401),
    "another id than was signed": (signed_but(webhook_id="msg_2"), 401),
    "a full stop moved into the id": (signed_but(webhook_id="msg", webhook_timestamp="1.1795000000"), 401),
    "a time in Arabic digits": (signed_but(webhook_timestamp="١٧٩٥٠٠٠٠٠٠"), 401),
    "no time": (signed_but(webhook_timestamp=""), 401),
    "another version of the signature": (signed_but(webhook_signature="v1a,AAAA"), 401),
    "no signature": (signed_but(webhook_signature=""), 401),
    "a signature that is no base64": (signed_but(webhook_signature="v1,%%%"), 401),
    "a thousand signatures": (signed_but(webhook_signature="v1,AAAA " * 800), 401),
    "a wrong key and a good signature": (
        raw(known=False, Authorization="Bearer no", more=standard_webhooks(GOOD)),
        401,
    ),
    "a type that was not signed": (
        raw(known=False, more={**standard_webhooks(GOOD), "ce-type": "customer.erased"}),
        400,
    ),
    "the status of an event, without a key": (
        raw(b"", method="GET", path="/events/5f0c7a1e-0000-4000-8000-000000000000", known=False),
        401,
    ),
    "the status of another's event": (raw(b"", method="GET", path="/events/5f0c7a1e-0000-4000-8000-000000000000"), 404),
}
BODIES = {
    "nothing": (json_of(""), 400),
    "blanks": (json_of("   \r\n"), 400),
    "no JSON": (json_of("customer_id=C-1"), 400),
    "half an object": (json_of(GOOD[:-1]), 400),
    "two objects": (json_of(GOOD + GOOD), 400),
    "a list": (json_of("[1, 2]"), 400),
    "a text": (json_of('"onboarding.requested"'), 400),
    "null": (json_of("null"), 400),
    "120,000 deep": (json_of('{"data": ' + "[" * 120_000 + "]" * 120_000 + "}"), 400),
    "40 deep": (event(data={"customer_id": "C-1", "x": json.loads("[" * 40 + "]" * 40)}), 400),
    "open brackets": (json_of("[" * 200_000), 400),
    "a key twice": (json_of(GOOD.replace(b'"id"', b'"id": "8", "id"')), 400),
    "a key twice, one of them escaped": (json_of(GOOD.replace(b'"id"', rb'"i\u0064": "8", "id"')), 400),
    "NaN": (json_of(GOOD.replace(b'"C-1"', b"NaN")), 400),
    "minus infinity": (json_of(GOOD.replace(b'"C-1"', b"-Infinity")), 400),
    "a number beyond all numbers": (json_of(GOOD.replace(b'"C-1"', b"1e999")), 400),
    "a number of 200,000 digits": (json_of(GOOD.replace(b'"C-1"', b"1" * 200_000)), 400),
    "a NUL": (with_id(rb'"a\u0000b"'), 400),
    "half a surrogate pair": (with_id(rb'"\ud800"'), 400),
    "bytes that are no UTF-8": (with_id(b'"\xff\xfe"'), 400),
    "an overlong slash": (with_id(b'"\xc0\xaf"'), 400),
    "UTF-16": (json_of(json.dumps(EVENT).encode("utf-16")), 400),
    "UTF-32": (json_of(json.dumps(EVENT).encode("utf-32")), 400),
    "a comment": (json_of(b"/* */" + GOOD), 400),
    "a trailing comma": (json_of(GOOD[:-1] + b",}"), 400),
    "a text in single quotes": (json_of(GOOD.replace(b'"', b"'")), 400),
    "XML with an entity from a file": (
        raw(b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>', Content_Type="application/xml"),
        415,
    ),
    "plain text": (raw(Content_Type="text/plain"), 415),
    "a form": (raw(b"customer_id=C-1", Content_Type="application/x-www-form-urlencoded"), 415),
    "several parts": (raw(Content_Type="multipart/form-data; boundary=x"), 415),
    "one event that is called a list": (raw(Content_Type=LIST), 400),
    "a list that does not end": (raw(b"[" + GOOD, Content_Type=LIST), 400),
    "a list with a comma too many": (raw(b"[" + GOOD + b",]", Content_Type=LIST), 400),
    "two lists": (raw(b"[]" * 2, Content_Type=LIST), 400),
    "a list of open brackets": (raw(b"[" * 200_000, Content_Type=LIST), 400),
    "a list of 1,001 numbers": (raw(b"[" + b"1," * 1000 + b"1]", Content_Type=LIST), 400),
    "a list of another letter set": (raw(json.dumps([EVENT]).encode("utf-16"), Content_Type=LIST), 400),
    "a list of more than 4 MiB": (raw(b" " * (LARGEST_LIST + 1), Content_Type=LIST), 413),
    "a packed list": (raw(b"[]", Content_Type=LIST, Content_Encoding="gzip"), 415),
    "a million events in one": (raw(b"[[" + b"{}," * 1_000_000 + b"{}]]", Content_Type=LIST), 207),
    "a number of 200,000 digits in a list": (raw(b"[" + b"1" * 200_000 + b"]", Content_Type=LIST), 207),
    "what is no event, in a list": (raw(b'[1, null, "", {}, [[]], NaN, {"a": 1, "a": 1}]', Content_Type=LIST), 207),
    "an id that is hostile, in a list": (raw(rb'[{"id": "\ud800"}, {"id": {}}, {"id": ""}]', Content_Type=LIST), 207),
    "another letter set, which JSON has not": (raw(Content_Type="application/json; charset=utf-7"), 202),
    "a ce- header twice": (raw(more=[("ce-id", "1"), ("Ce-Id", "2")]), 400),
}
ENVELOPES = {
    "no id": (event(id=None), 400),
    "an empty id": (event(id=""), 400),
    "an id of 300 signs": (event(id="a" * 300), 400),
    "an id that is an object": (event(id={"$ne": 1}), 400),
    "another type": (event(type="order.placed"), 400),
    "a type that is a list": (event(type=["customer.erased"]), 400),
    "another version": (event(specversion="0.3"), 400),
    "no source": (event(source=None), 400),
    "yesterday": (event(time="yesterday"), 400),
    "a month 13": (event(time="2026-13-01T00:00:00Z"), 400),
    "a time without a zone": (event(time="2026-11-20T12:00:00"), 400),
    "the year 10000": (event(time="10000-01-01T00:00:00Z"), 400),
    "data that is a list": (event(data=["C-1"]), 400),
    "data that is a text": (event(data="C-1"), 400),
    "data and data_base64": (event(data_base64="e30="), 400),
    "data_base64 that is none": (event(data=None, data_base64="%%%"), 400),
}
FIELDS = {
    "a line break in the address": (data(email="a@example.com\r\nBcc: evil@example.com"), 422),
    "two addresses": (data(email="a@example.com,evil@example.com"), 422),
    "an address with a name": (data(email="A <a@example.com>"), 422),
    "a quoted local part": (data(email='"a b"@example.com'), 422),
    "an address literal": (data(email="a@[127.0.0.1]"), 422),
    "a host without a dot": (data(email="root@localhost"), 422),
    "a comment in the address": (data(email="a(evil)@example.com"), 422),
    "an address of 400 signs": (data(email="a" * 400 + "@example.com"), 422),
    "an address that turns around": (data(email="a\u202e@example.com"), 422),
    "an address that is an object": (data(email={"$gt": ""}), 422),
    "a number with a second one": (data(email=None, phone="+37060000001;+37060000002"), 422),
    "a number with a pause": (data(email=None, phone="+37060000001,,,1#"), 422),
    "a number in letters": (data(email=None, phone="+1-800-FLOWERS", country="US"), 422),
    "a satellite's number": (data(email=None, phone="+881612345678"), 422),
    "a premium number": (data(email=None, phone="+97912345678"), 422),
    "an id that is an address": (data(customer_id="ona@example.com"), 422),
    "an id that is a number": (data(customer_id="+37060000001"), 422),
    "an id with a line break": (data(customer_id="C-1\nC-2"), 422),
    "an id of 300 signs": (data(customer_id="C" * 300), 422),
    "an id beyond ASCII": (data(customer_id="С-1"), 422),
    "an id that is a list": (data(customer_id=["C-1", {}]), 422),
    "no id": (data(customer_id=None), 422),
    "an id that is a number in JSON": (data(customer_id=1e308), 422),
    "a way up in the template": (data(template="../../etc/passwd"), 422),
    "a way up in the locale, which is left out": (data(locale="../../en"), 202),
    "a way up in the account": (data(account="../kyc"), 422),
    "an account that is not there": (data(account="other"), 422),
    "a purpose with a way up": (data(purpose="../x"), 422),
    "a column that is none": (data(is_admin=True), 422),
    "a state of ours": (data(state="completed"), 422),
    "the prototype": (data(**{"__proto__": {"state": "completed"}}), 422),
    "a day that is none, which nothing here uses": (data(date_of_birth="1987-02-30"), 202),
    "a country that is none": (data(country="XX"), 422),
    "a zone that is a file, which is left out": (data(timezone="../../etc/passwd"), 202),
    "a channel that is none": (data(channel="pigeon"), 422),
    "consent that is a word": (data(consent="perhaps"), 422),
    "a parameter that is none": (data(**{"idenfy-kyc.is_admin": True}), 422),
    "a parameter's address for callbacks": (data(**{"idenfy-kyc.callbackUrl": "javascript:alert(1)"}), 422),
    "500 parameters": (data(**{f"idenfy-kyc.p{number}": "x" for number in range(500)}), 422),
    "a name of 20,000 signs": (data(first_name="a\u0301" * 20_000), 422),
    "a name with a NUL": (data(first_name="a\0b"), 400),
    # Made to cost time
    "9,000 parameters": (data(**{f"idenfy-kyc.p{number}": "x" for number in range(9000)}), 422),
    "9,000 columns with names like ours": (data(**{f"first_nam{number}": "x" for number in range(9000)}), 422),
    "a parameter with 5,000 lists": (data(**{"idenfy-kyb.x": {f"k{number}": [1] * 5 for number in range(5000)}}), 422),
    "an address of 200 KB": (data(email="a." * 100_000 + "@example.com"), 422),
    "a host of 100,000 labels": (data(email="a@" + "b." * 100_000 + "com"), 422),
    "a number of 200,000 digits": (data(email=None, phone="+" + "1" * 200_000), 422),
    "a number with 200,000 blanks": (data(email=None, phone="+1" + " " * 200_000 + "2"), 422),
    "a zone of 100,000 parts, which is left out": (data(timezone="A/" * 100_000), 202),
    "30,000 tags": (data(tags=";".join(f"t{number}" for number in range(30_000))), 422),
    # Kept as text, and harmless where it is used
    "an address that a header would decode": (data(email="=?utf-8?q?a=0d=0a?=@example.com"), 202),
    "SQL in the id": (data(customer_id="C-1'; DROP TABLE job;--"), 202),
    "a template in the name": (data(first_name="{{7*7}}{% for a in b %}"), 202),
    "HTML in the name": (data(first_name="<img src=x onerror=alert(1)>"), 202),
    "a formula in the tags": (data(tags="=cmd|' /C calc'!A0"), 202),
}
# Words of the requests above that no answer may repeat.
REPEATED = ("evil", "passwd", "alert", "javascript", "FLOWERS", ";+3706", "DROP", "881612", "ona@", "a@example", FIRST)
CASES = STRANGERS | {f"body: {what}": case for what, case in BODIES.items()}
CASES |= {f"envelope: {what}": case for what, case in ENVELOPES.items()}
CASES |= {f"field: {what}": case for what, case in FIELDS.items()}


def test_an_event_is_answered_with_the_status_of_its_fault(port: int, subtests):
    for what in CASES:
        with subtests.test(case=what):
            request, status = CASES[what]

            answer = say(port, request)

            assert status_of(answer) == status
            assert answer.count(b"\r\nDate:") == 1
            if status not in (202, 207):
                problem = json.loads(answer.partition(b"\r\n\r\n")[2])
                assert problem["status"] == status
                assert problem["problems"]
                assert not [word for word in REPEATED if word in json.dumps(problem)]
