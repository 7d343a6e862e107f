"""Twilio's callbacks about deliveries and answers: the check that they are genuine, and their meaning."""

from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onboarding_worker.core.model.states import InvitationState
from onboarding_worker.features.delivery import twilio as twilio_callbacks
from onboarding_worker.senders.contract import DeliveryStatus, DeliveryUpdate, NotUnderstood, Stop
from onboarding_worker.web.webhooks.store.delivery_reports import invitation_state_by_report

STOP_WORDS = ["stop", "stopall", "unsubscribe", "cancel", "end", "quit", "revoke", "optout", "stopp", "arrêt", "baja"]
TOKEN = "twilio-token"
URL = "https://onboard.example.com/callbacks/sms"
SID = "SM1342fe1b2c904d1ab04f0fc7a58abca9"
DELIVERED = {
    "AccountSid": "AC00000000000000000000000000000001",
    "ApiVersion": "2010-04-01",
    "From": "+15005550006",
    "To": "+37060000001",
    "MessageSid": SID,
    "MessageStatus": "delivered",
    "SmsSid": SID,
    "SmsStatus": "delivered",
    "RawDlrDoneDate": "2611201200",
}
ANSWER = {
    "MessageSid": "SM00000000000000000000000000000002",
    "SmsStatus": "received",
    "From": "+37060000001",
    "To": "+15005550006",
    "Body": "STOP",
    "NumMedia": "0",
}


def refused(fields, signature, *, url=URL, keys=(TOKEN,)):
    body = fields if isinstance(fields, bytes) else urlencode(fields).encode()
    return twilio_callbacks.refusal({"x-twilio-signature": signature}, body, url=url, keys=keys)


def read(fields):
    return twilio_callbacks.read(fields if isinstance(fields, bytes) else urlencode(fields).encode())


# Genuine or not


def test_twilios_own_published_example_is_genuine():
    fields = {
        "CallSid": "CA1234567890ABCDE",
        "Caller": "+12349013030",
        "Digits": "1234",
        "From": "+12349013030",
        "To": "+18005551212",
    }
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    assert refused(fields, "0/KCTR6DLpKmkAf8muzZqo1nDgQ=", url=url, keys=["12345"]) == ""
    changed = {**fields, "Digits": "1235"}
    assert refused(changed, "0/KCTR6DLpKmkAf8muzZqo1nDgQ=", url=url, keys=["12345"]) != ""


def own_signature(fields, *, url=URL, key=TOKEN):
    return twilio_callbacks.signature(key, url, list(fields.items()))


def test_the_order_of_the_fields_does_not_matter():
    assert refused(dict(reversed(DELIVERED.items())), own_signature(DELIVERED)) == ""


def test_empty_fields_and_letters_of_all_kinds_are_signed_too():
    fields = {**ANSWER, "Body": "", "FromCity": "Šiauliai & +", "Ünicode": "=%"}
    assert refused(fields, own_signature(fields)) == ""
    assert refused({**fields, "More": ""}, own_signature(fields)) != ""


def test_the_schemes_own_port_may_be_there_or_not():
    urls = [URL, "https://onboard.example.com:443/callbacks/sms"]
    assert [
        (theirs, ours, got)
        for theirs in urls
        for ours in urls
        if (got := refused(DELIVERED, own_signature(DELIVERED, url=theirs), url=ours)) != ""
    ] == []


def test_one_for_another_address_is_refused():
    cases = [
        "https://onboard.example.com/callbacks/sms?a=1",
        "https://onboard.example.com:8443/callbacks/sms",
        "http://onboard.example.com/callbacks/sms",
        "https://other.example.com/callbacks/sms",
        "https://[::1/",
        "nonsense",
        "https://onboard.example.com/callbacks/sms?\udcff",
    ]
    assert [url for url in cases if refused(DELIVERED, own_signature(DELIVERED), url=url) == ""] == []


def test_a_forged_one_is_refused():
    cases = ["", "x", "é", "\ud800", own_signature(DELIVERED) + "=", own_signature(ANSWER)]
    assert [signature for signature in cases if refused(DELIVERED, signature) == ""] == []


def test_any_of_several_tokens_will_do_while_they_are_rotated():
    assert refused(DELIVERED, own_signature(DELIVERED), keys=["next", TOKEN]) == ""
    assert refused(DELIVERED, own_signature(DELIVERED), keys=["next"]) != ""
    assert refused(DELIVERED, own_signature(DELIVERED), keys=[]) != ""


HOSTILE = [
    b"",
    b"\xff\xfe",
    b"%ff%fe=1",
    b"MessageSid=" + b"a" * 70_000,
    b"&".join(b"a%d=1" % n for n in range(300)),
    b"MessageStatus=delivered&MessageStatus=failed&MessageSid=SM1",
    b"MessageStatus=delivered&MessageSid=" + b"%00" * 20,
    b"MessageStatus=failed&MessageSid=SM1&ErrorCode=" + b"9" * 5000,
    "MessageStatus=failed&MessageSid=SM1&ErrorCode=²".encode(),
    b"{}",
    b"MessageStatus=failed&MessageSid=..%2f..%2f",
]


def test_hostile_bytes_are_neither_genuine_nor_delivered(subtests):
    for body in HOSTILE:
        with subtests.test(body=body):
            assert refused(body, own_signature(DELIVERED)) != ""
            update = read(body)
            assert isinstance(update, NotUnderstood) or update.status is not DeliveryStatus.DELIVERED


def test_a_callback_with_a_field_twice_or_too_many_is_not_read():
    for body in (
        b"MessageSid=SM1&MessageStatus=failed&MessageStatus=delivered",
        b"MessageSid=SM1&MessageStatus=delivered&" + b"&".join(b"a%d=1" % n for n in range(300)),
        b"MessageSid=SM1&MessageStatus=delivered&a=" + b"a" * 70_000,
    ):
        assert isinstance(read(body), NotUnderstood)


@settings(max_examples=60)
@given(
    st.binary(max_size=200)
    | st.dictionaries(st.sampled_from(list(ANSWER)), st.text()).map(lambda d: urlencode(d).encode())
)
def test_no_body_raises(body):
    refused(body, "x")
    assert isinstance(read(body), DeliveryUpdate | NotUnderstood)


# The content


def test_each_status_means_what_the_table_says(subtests):
    cases = [
        ("delivered", "", DeliveryStatus.DELIVERED, None),
        ("undelivered", "30005", DeliveryStatus.BOUNCED, Stop.BOUNCED),
        ("undelivered", "30006", DeliveryStatus.BOUNCED, Stop.BOUNCED),
        ("failed", "21610", DeliveryStatus.BOUNCED, Stop.STOPPED),
        ("undelivered", "30003", DeliveryStatus.LATER, None),
        ("undelivered", "30001", DeliveryStatus.LATER, None),
        ("failed", "30036", DeliveryStatus.LATER, None),
        ("undelivered", "30004", DeliveryStatus.BLOCKED, None),
        ("undelivered", "30007", DeliveryStatus.BLOCKED, None),
        ("undelivered", "30008", DeliveryStatus.BLOCKED, None),
        ("failed", "", DeliveryStatus.BLOCKED, None),
        ("failed", "x", DeliveryStatus.BLOCKED, None),
        ("sent", "", None, None),
        ("queued", "", None, None),
        ("read", "", None, None),
        ("of next year", "", None, None),
    ]
    for status, code, delivery, stop in cases:
        with subtests.test(status=status, code=code, contact=delivery, stop=stop):
            given = {**DELIVERED, "MessageStatus": status, "SmsStatus": status}
            update = read(given | {"ErrorCode": code} if code else given)
            assert (update.reference, update.status, update.stop) == (SID, delivery, stop)
            assert not update.resume


def test_the_update_names_a_number_that_must_not_be_written_to_again():
    update = read({**DELIVERED, "MessageStatus": "undelivered", "ErrorCode": "30005"})
    assert update.address == "+37060000001"
    assert "+37060000001" not in repr(update)


def test_an_answer_that_says_stop_stops(subtests):
    for words in [" Stop. ", "Stop  all", "quit!", *STOP_WORDS, *(word.upper() for word in STOP_WORDS)]:
        with subtests.test(words=words):
            update = read({**ANSWER, "Body": words})
            assert (update.stop, update.resume, update.address) == (Stop.STOPPED, False, "+37060000001")
            assert (update.reference, update.status) == ("", None)


def test_any_other_answer_changes_nothing(subtests):
    for words in ["Please don't stop", "stop it some time", "", "ok", "HELP", "\x00", "stop" * 50]:
        with subtests.test(words=words):
            update = read({**ANSWER, "Body": words})
            assert (update.stop, update.resume) == (None, False)


@pytest.mark.parametrize("words", ["START", "unstop"])
def test_a_customer_who_answered_stop_may_answer_start(words):
    assert read({**ANSWER, "Body": words}).resume


@pytest.mark.parametrize(
    ("meant", "stop", "resume"), [("STOP", Stop.STOPPED, False), ("START", None, True), ("HELP", None, False)]
)
def test_twilio_knows_what_the_accounts_own_words_mean(meant, stop, resume):
    update = read({**ANSWER, "Body": "nustok", "OptOutType": meant})
    assert (update.stop, update.resume) == (stop, resume)


def test_a_stop_is_never_mistaken_for_a_start():
    update = read({**ANSWER, "Body": "STOP", "OptOutType": "START"})
    assert (update.stop, update.resume) == (Stop.STOPPED, False)


def test_what_a_person_answered_is_not_kept():
    update = read({**ANSWER, "Body": "I am Vita Sample"})
    kept = repr([getattr(update, name) for name in DeliveryUpdate.__dataclass_fields__])
    assert "Vita" not in kept
    assert "+37060000001" not in repr(update)


# The effect on the invitation

SENT, ARRIVED, BOUNCED = InvitationState.SENT, InvitationState.DELIVERED, InvitationState.BOUNCED


def test_a_message_has_the_state_of_its_callbacks():
    cases = [
        (SENT, DeliveryStatus.DELIVERED, ARRIVED),
        (SENT, DeliveryStatus.BOUNCED, BOUNCED),
        (SENT, DeliveryStatus.BLOCKED, BOUNCED),
        (SENT, DeliveryStatus.LATER, None),
        (SENT, None, None),
        (ARRIVED, DeliveryStatus.DELIVERED, None),
        (ARRIVED, DeliveryStatus.BOUNCED, BOUNCED),
        (BOUNCED, DeliveryStatus.DELIVERED, None),
        (InvitationState.HELD, DeliveryStatus.DELIVERED, ARRIVED),
        (InvitationState.FAILED, DeliveryStatus.DELIVERED, ARRIVED),
        (InvitationState.SUPPRESSED, DeliveryStatus.DELIVERED, None),
        (InvitationState.WAITING, DeliveryStatus.DELIVERED, None),
    ]
    assert [
        (present, status, following, got)
        for present, status, following in cases
        if (got := invitation_state_by_report(present, DeliveryUpdate("any", status=status))) is not following
    ] == []


@given(st.lists(st.sampled_from([None, *DeliveryStatus]), max_size=6), st.data())
def test_callbacks_in_any_order_and_repetition_end_in_the_same(fates, data):
    def after(statuses):
        state = SENT
        for status in statuses:
            state = invitation_state_by_report(state, DeliveryUpdate("any", status=status)) or state
        return state

    repeated = data.draw(st.permutations(fates)) + (
        data.draw(st.lists(st.sampled_from(fates), max_size=4)) if fates else []
    )
    assert after(repeated) is after(fates)


# WhatsApp


def of_whatsapp(status, code="", **fields):
    given = {"MessageSid": "SM1", "MessageStatus": status, "To": "whatsapp:+37060000001", "ErrorCode": code, **fields}
    return read(given)


def test_what_a_callback_about_a_whatsapp_message_means(subtests):
    cases = [
        ("sent", "", None, None),
        ("delivered", "", DeliveryStatus.DELIVERED, None),
        ("read", "", DeliveryStatus.DELIVERED, None),
        ("failed", "63003", DeliveryStatus.ELSEWHERE, None),
        ("undelivered", "63024", DeliveryStatus.ELSEWHERE, None),
        ("failed", "63016", DeliveryStatus.BLOCKED, None),
        ("failed", "63018", DeliveryStatus.BLOCKED, None),  # Twilio does not try it again
        ("failed", "", DeliveryStatus.BLOCKED, None),
        ("failed", "63014", DeliveryStatus.BOUNCED, Stop.STOPPED),
    ]
    for status, code, becomes, stop in cases:
        with subtests.test(status=status, code=code, becomes=becomes, stop=stop):
            found = of_whatsapp(status, code)
            assert (found.reference, found.status, found.stop) == ("SM1", becomes, stop)


def test_the_number_of_a_callback_and_of_an_answer_has_no_prefix():
    assert of_whatsapp("failed", "63024").address == "+37060000001"
    answer = read({"From": "whatsapp:+37060000001", "Body": "Stop", "SmsStatus": "received"})
    assert (answer.address, answer.stop) == ("+37060000001", Stop.STOPPED)
