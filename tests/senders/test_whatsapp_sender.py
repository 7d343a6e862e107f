"""WhatsApp by Twilio: the form of a message, what refusals mean, and the look-up."""

import json
from datetime import timedelta

import pytest

from onboarding_worker.core.model.endings import AddressIs, Kind, Problem
from onboarding_worker.core.model.http_messages import HttpAnswer
from onboarding_worker.core.rules.reconciliation import Nothing, Unmatched
from onboarding_worker.senders.contract import Receipt
from tests.senders.far_side import NOW, SERVICE, FakeCaller, error, sms_sender

SID = f"HX{'0123456789abcdef' * 2}"
LINK = "https://verify.example.com/s?t=t0k3n"
CONTENT = f"content: {SID}\n1: Maria\n2: s?t=t0k3n"


@pytest.fixture
def words(message):
    return lambda: message(to="+37060000001", text=CONTENT)


def whatsapp(http, **changes):
    return sms_sender(http, channel="whatsapp", **changes)


async def test_a_message_names_its_approved_template_and_has_no_words_of_ours(words):
    http = FakeCaller()

    assert await whatsapp(http, callback="https://onboard.example.com/callbacks/whatsapp").send(words()) == Receipt(
        "SM0123"
    )

    assert http.forms == [
        {
            "To": "whatsapp:+37060000001",
            "From": "whatsapp:+15005550006",
            "ContentSid": SID,
            "ContentVariables": '{"1": "Maria", "2": "s?t=t0k3n"}',
            "StatusCallback": "https://onboard.example.com/callbacks/whatsapp",
        }
    ]


async def test_a_messaging_service_has_no_prefix(words):
    http = FakeCaller()
    await whatsapp(http, from_=SERVICE).send(words())
    assert (http.forms[0]["MessagingServiceSid"], "From" in http.forms[0]) == (SERVICE, False)


async def test_what_a_refusal_means(words, subtests):
    cases = [
        (63003, Kind.BAD_INPUT, AddressIs.ELSEWHERE),
        (63024, Kind.BAD_INPUT, AddressIs.ELSEWHERE),
        (63016, Kind.BAD_INPUT, AddressIs.REFUSED),
        (63028, Kind.BAD_INPUT, AddressIs.REFUSED),
        (21656, Kind.BAD_INPUT, AddressIs.REFUSED),
        (21614, Kind.BAD_INPUT, AddressIs.REFUSED),  # a landline may be on WhatsApp; it is not suppressed
        (21211, Kind.BAD_INPUT, AddressIs.GONE),
        (63014, Kind.BAD_INPUT, AddressIs.OPTED_OUT),
        (21610, Kind.BAD_INPUT, AddressIs.OPTED_OUT),
        (63018, Kind.RATE_LIMITED, None),
        (63007, Kind.AUTH, None),
        (21655, Kind.AUTH, None),
    ]
    for code, kind, address in cases:
        with subtests.test(code=code):
            found = await whatsapp(FakeCaller([error(400, code)])).send(words())
            assert isinstance(found, Problem)
            assert (found.kind, found.address) == (kind, address)


async def test_a_message_without_its_link_in_twilios_list_may_be_ours(subtests):
    cases = [
        ([], Nothing()),
        ([{"sid": "SM1", "body": f"Maria, {LINK}"}], Receipt("SM1")),
        ([{"sid": "SM1", "body": "Maria, please confirm"}], Unmatched),
        ([{"sid": "SM0", "body": "Maria, please confirm"}], Nothing()),  # one whose receipt is known
    ]
    for messages, expected in cases:
        with subtests.test(messages=messages):
            listed = [
                {"date_created": "Fri, 20 Nov 2026 10:00:00 +0000", "direction": "outbound-api", **one}
                for one in messages
            ]
            http = FakeCaller([HttpAnswer(200, {}, json.dumps({"messages": listed}).encode())])

            since = NOW - timedelta(minutes=1)
            found = await whatsapp(http).look_up("+37060000001", LINK, since=since, known=frozenset({"SM0"}))

            assert found == expected or isinstance(found, expected if isinstance(expected, type) else ())
            assert "To=whatsapp%3A%2B37060000001&From=whatsapp%3A%2B15005550006" in http.requests[0].url
