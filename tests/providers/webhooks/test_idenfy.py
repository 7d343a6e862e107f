"""iDenfy's webhooks: the check that they are genuine, and the meaning of each event and status."""

import json
import shutil
import subprocess
from datetime import UTC, datetime
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onboarding_worker.core.model.states import Result, SessionState
from onboarding_worker.providers.account import AccountUnusable
from onboarding_worker.providers.contract import build_webhook_reader
from onboarding_worker.providers.webhooks.contract import LARGEST, Delivery, Key, SessionUpdate, Unreadable
from tests.providers.webhooks.accounts import (
    HOSTILE_BODIES,
    KEY,
    NOW,
    OLD_KEY,
    WRONG,
    Webhooks,
    hex_hmac,
    idenfy,
    read,
    signed,
)

KYC, KYB = idenfy("idenfy-kyc"), idenfy("idenfy-kyb")
COMPLETED, FAILED = SessionState.COMPLETED, SessionState.FAILED
STARTED, EXPIRED = SessionState.STARTED, SessionState.EXPIRED
AUTO, MANUAL, LEGACY = "IDENTIFICATION_AUTO_FINISHED", "IDENTIFICATION_MANUAL_FINISHED", "IDENTIFICATION"


def body(overall="APPROVED", *, final=True, **more):
    return {
        "final": final,
        "platform": "MOBILE",
        "status": {"overall": overall, "fraudTags": [], "mismatchTags": [], "autoFace": "FACE_MATCH"},
        "data": {"docFirstName": "VITA", "docLastName": "SAMPLE", "docNumber": "X0001"},
        "fileUrls": {"FRONT": "https://files.example.com/front.png?signature=1"},
        "AML": [{"data": [{"name": "Vita", "surname": "Sample"}]}],
        "scanRef": "5f8a0d0e-3a11-4f0e-9a55-1c1b5b1f3a10",
        "externalRef": "0f8fad5bd9cb469fa16570867728950e",
        "clientId": "c-0001",
        "companyId": "",
        "beneficiaryId": "",
        "startTime": 1795161500,
        "finishTime": 1795161600,
        "clientIp": "192.0.2.7",
        **more,
    }


# Genuine or not


def test_the_published_vector_is_genuine():
    vector = "add853b103fbcc936a194f9eb15e29c4ff08af6e47d5d1bca4f20218e31e4fff"
    assert idenfy("idenfy-kyc", "k").refuses(Delivery(b"{}", {"idenfy-signature": vector}), now=NOW) == ""
    assert hex_hmac("k", b"{}") == vector


@given(st.binary(max_size=300), st.text(st.characters(codec="ascii"), min_size=1, max_size=64))
def test_what_is_signed_by_the_definition_of_hmac_is_genuine(raw, key):
    assert idenfy("idenfy-kyc", key).refuses(Delivery(raw, {"idenfy-signature": hex_hmac(key, raw)}), now=NOW) == ""


def test_any_of_several_keys_will_do_while_they_are_rotated():
    both = idenfy("idenfy-kyc", KEY, OLD_KEY)
    assert both.refuses(signed(b"{}", key=OLD_KEY), now=NOW) == ""
    assert both.refuses(signed(b"{}", key=KEY), now=NOW) == ""
    assert idenfy("idenfy-kyc", KEY).refuses(signed(b"{}", key=OLD_KEY), now=NOW) != ""


def test_a_forged_one_is_refused():
    cases = [
        {},
        {"idenfy-signature": ""},
        {"idenfy-signature": "0" * 64},
        {"idenfy-signature": "é" * 64},
        {"idenfy-signature": "\ud800"},
        {"idenfy-signature": hex_hmac(KEY, b"{}")[:-1]},
        {"idenfy-signature": hex_hmac(KEY, b"{}") + "0"},
        {"idenfy-signature": hex_hmac(KEY, b"{}").upper()},
        {"idenfy-signature": hex_hmac(KEY, b"{ }")},
    ]
    assert [headers for headers in cases if KYC.refuses(Delivery(b"{}", headers), now=NOW) == ""] == []


@pytest.mark.parametrize("reader", [KYC, KYB], ids=["kyc", "kyb"])
def test_every_digit_of_the_signature_counts(reader):
    right = hex_hmac(KEY, b"{}")
    forged = [right[:at] + ("1" if right[at] == "0" else "0") + right[at + 1 :] for at in range(len(right))]

    refused = [reader.refuses(Delivery(b"{}", {"idenfy-signature": one}), now=NOW) != "" for one in [right, *forged]]

    assert refused == [False] + [True] * 64


def test_one_changed_byte_is_refused():
    raw = json.dumps(body("DENIED")).encode()
    delivery = signed(raw)
    changed = Delivery(raw.replace(b"DENIED", b"DENIES"), delivery.headers)
    assert KYC.refuses(delivery, now=NOW) == ""
    assert KYC.refuses(changed, now=NOW) != ""


def test_a_body_that_is_too_large_is_refused_before_it_is_hashed():
    assert KYC.refuses(signed(b"a" * (LARGEST + 1)), now=NOW) == "it is too large"


@pytest.mark.parametrize("provider", ["idenfy-kyc", "idenfy-kyb"])
def test_without_a_key_no_webhook_is_accepted(provider):
    with pytest.raises(AccountUnusable) as raised:
        build_webhook_reader(Webhooks(provider))
    assert raised.value.key == "webhook_keys"


# Events of a verification

VERDICTS = {
    "APPROVED": (COMPLETED, Result.APPROVED),
    "SUSPECTED": (COMPLETED, Result.SUSPECTED),
    "DENIED": (FAILED, Result.DENIED),
    "REVIEWING": (STARTED, Result.REVIEW),
    "ACTIVE": (None, None),
    "EXPIRED": (EXPIRED, None),
    "EXPIRED-DELETED": (EXPIRED, None),
    "DELETED": (FAILED, None),
    "ARCHIVED": (FAILED, None),
    "SOMETHING_NEW": (None, None),
}


def test_a_final_event_means_what_its_status_says(subtests):
    for (overall, meaning), event in product(
        VERDICTS.items(), [AUTO, MANUAL, "IDENTIFICATION_RESUBMITTED", LEGACY, None]
    ):
        with subtests.test(overall=overall, event=event):
            update = read(KYC, body(overall), event)
            assert (update.state, update.result) == meaning
            assert update.final
            assert update.alert == (overall == "SOMETHING_NEW")


def test_an_event_that_is_not_final_is_in_review_whatever_its_status(subtests):
    for overall, event in product(
        ["APPROVED", "DENIED", "SUSPECTED", "REVIEWING", "NEW"],
        [AUTO, MANUAL, "IDENTIFICATION_RESUBMITTED", LEGACY, None],
    ):
        with subtests.test(overall=overall, event=event):
            update = read(KYC, body(overall, final=False), event)
            assert (update.state, update.result, update.final) == (STARTED, Result.REVIEW, False)


def test_the_legacy_event_reports_expiry_without_being_final():
    assert read(KYC, body("EXPIRED", final=False), LEGACY).state is EXPIRED
    assert read(KYC, body("EXPIRED", final=False), AUTO).state is STARTED


def test_an_expiry_uses_a_verdict_where_there_is_one(subtests):
    for overall, final in product(VERDICTS, [True, False, None]):
        with subtests.test(overall=overall, final=final):
            content = body(overall)
            content["final"] = final
            update = read(KYC, content, "IDENTIFICATION_EXPIRED")
            decided = overall in ("APPROVED", "SUSPECTED", "DENIED")
            assert (update.state, update.result) == (VERDICTS[overall] if decided else (EXPIRED, None))
            assert update.final is decided


@pytest.mark.parametrize("final", [True, False])
def test_a_cancelled_one_has_failed_and_says_why(final):
    update = read(KYC, body("ACTIVE", final=final), "IDENTIFICATION_CANCELLED")
    assert (update.state, update.result, update.final) == (FAILED, None, final)
    assert "cancelled" in update.note


def test_other_events_change_nothing(subtests):
    cases = [
        "DOCUMENT_EXPIRATION",
        "VIDEO_CALL_FINISHED",
        "AML_MONITORING",
        "AML_MONITORING_EXPIRATION",
        "BANK_VERIFICATION",
        "BANK_CARD_VERIFICATION_COMPLETED",
        "FACIAL_AUTHENTICATION",
        "AGE_ESTIMATION",
        "ACCOUNT_CHECK",
        "COMPANY_REVIEW",
        "A_NAME_OF_NEXT_YEAR",
    ]
    for event in cases:
        with subtests.test(event=event):
            update = read(KYC, body("DENIED"), event)
            assert (update.state, update.result, update.match) == (None, None, ())


def test_each_edition_of_a_name_is_the_same_event():
    cases = {
        "ID VERIFICATION AUTO FINISHED": AUTO,
        "ID_VERIFICATION_MANUAL_FINISHED": MANUAL,
        "identification_auto_finish": AUTO,
        "ID VERIFICATION EXPIRED": "IDENTIFICATION_EXPIRED",
        "IDENTIFICATION_CANCELED": "IDENTIFICATION_CANCELLED",
        "Id Verification  Canceled": "IDENTIFICATION_CANCELLED",
        "ID VERIFICATION": LEGACY,
        " IDENTIFICATION ": LEGACY,
        "": LEGACY,
    }
    assert {written: read(KYC, body(), written).event for written in cases} == cases


def test_it_names_the_session_three_ways_in_their_order():
    assert read(KYC, body(), AUTO).match == (
        (Key.SCAN_REF, "5f8a0d0e-3a11-4f0e-9a55-1c1b5b1f3a10"),
        (Key.EXTERNAL_REF, "0f8fad5bd9cb469fa16570867728950e"),
        (Key.CLIENT_ID, "c-0001"),
    )
    assert read(KYC, body(externalRef=None, scanRef=7), AUTO).match == ((Key.CLIENT_ID, "c-0001"),)


def test_an_owner_of_a_company_is_not_mistaken_for_the_customer():
    update = read(KYC, body(companyId="k1", beneficiaryId="b1"), AUTO)
    assert [key for key, _ in update.match] == [Key.SCAN_REF]


@pytest.mark.parametrize(("owner", "alert"), [("b1", False), ("", True), (None, True)])
def test_a_status_that_is_not_known_alerts_a_person_but_not_about_an_owner_of_a_company(owner, alert):
    update = read(KYC, body(beneficiaryId=owner, final=True, status={"overall": "PENDING_MOON"}), MANUAL)
    assert (update.alert, update.note) == (alert, "final, with an unknown status")


def test_it_happened_when_the_customer_finished():
    assert read(KYC, body(), AUTO).happened_at == datetime.fromtimestamp(1795161600, UTC)
    assert read(KYC, body(finishTime=None), AUTO).happened_at == datetime.fromtimestamp(1795161500, UTC)


def test_a_time_that_is_none_is_left_out():
    cases = [*WRONG, 1795161600000, "1795161600", 10**400]
    updates = ((value, read(KYC, body(finishTime=value, startTime=value), AUTO)) for value in cases)
    assert [value for value, update in updates if update.happened_at is not None] == []


def test_a_manual_verdict_weighs_more_than_an_automatic_one_of_the_same_time():
    assert read(KYC, body(), MANUAL).weight > read(KYC, body(), AUTO).weight


def test_nothing_personal_of_it_is_kept_or_shown():
    update = read(KYC, body(), AUTO)
    kept = repr([getattr(update, name) for name in SessionUpdate.__dataclass_fields__])
    for value in ("VITA", "Vita", "SAMPLE", "X0001", "files.example.com", "192.0.2.7"):
        assert value not in kept
    assert "c-0001" not in repr(update)
    assert "5f8a0d0e" not in repr(update)


# Events of a company

SUBMIT = {
    "id": "66d07d0c9f1b",
    "clientId": "c-77",
    "externalRef": "job-77",
    "submissionTime": "2026-11-20T07:59:00Z",
    "soleProprietor": False,
}
REVIEW = {
    "id": "66d07d0c9f1b",
    "companyName": "Paper Harbour Ltd",
    "registrationNumber": "302000001",
    "approvalStatus": "APPROVED",
    "denyReason": "Ms Sample could not be found",
    "clientId": "c-77",
    "externalRef": "job-77",
}
INFO = {
    "companyId": "66d07d0c9f1b",
    "token": "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567",
    "date": "2026-11-20T07:59:00Z",
    "email": "vita@example.com",
    "manager": {"id": 1, "name": "Ona", "surname": "Invented", "email": "ona@example.com"},
    "status": "REQUESTED",
}


def test_a_submitted_form_is_in_review_and_names_the_company():
    update = read(KYB, SUBMIT, "COMPANY_SUBMIT")
    assert (update.state, update.result, update.final) == (STARTED, Result.REVIEW, False)
    assert update.company_id == "66d07d0c9f1b"
    assert update.happened_at == datetime(2026, 11, 20, 7, 59, tzinfo=UTC)
    assert update.match == ((Key.EXTERNAL_REF, "job-77"), (Key.COMPANY_ID, "66d07d0c9f1b"), (Key.CLIENT_ID, "c-77"))


def test_the_edition_without_the_companys_id_is_read_as_well():
    update = read(KYB, {name: value for name, value in SUBMIT.items() if name != "id"}, "COMPANY_SUBMIT")
    assert (update.state, update.company_id) == (STARTED, "")


def test_a_review_means_what_its_status_says(subtests):
    for status, meaning in [
        ("APPROVED", (COMPLETED, Result.APPROVED, True, False)),
        ("DENIED", (FAILED, Result.DENIED, True, False)),
        (None, (STARTED, Result.REVIEW, False, False)),
        ("PENDING", (None, None, False, True)),
        (7, (None, None, False, True)),
    ]:
        with subtests.test(status=status, meaning=meaning):
            update = read(KYB, {**REVIEW, "approvalStatus": status}, "COMPANY_REVIEW")
            assert (update.state, update.result, update.final, update.alert) == meaning
            assert "Sample" not in repr([getattr(update, name) for name in SessionUpdate.__dataclass_fields__])


def test_another_events_body_under_a_name_that_is_not_signed_changes_nothing():
    """Both endpoints may have one key, and the header that names the event is not signed."""
    verified = {"final": True, "status": {"overall": "APPROVED"}, "scanRef": "s-1", "clientId": "c-77"}
    update = read(KYB, verified, "COMPANY_REVIEW")
    assert (update.state, update.company_id, update.alert) == (None, "", False)
    for event in (None, AUTO, "IDENTIFICATION_EXPIRED", "IDENTIFICATION_CANCELLED"):
        for body in (REVIEW, SUBMIT, INFO):
            update = read(KYC, body, event)
            assert (update.state, update.alert) == (None, False)


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        ("REQUESTED", (STARTED, False)),
        ("CANCELED", (STARTED, False)),
        ("EXPIRED", (EXPIRED, False)),
        ("LOST", (None, True)),
    ],
)
def test_a_request_for_more_is_found_by_its_token_or_company(status, meaning):
    update = read(KYB, {**INFO, "status": status}, "COMPANY_INFO_REQUEST")
    assert (update.state, update.alert) == meaning
    assert update.match == ((Key.TOKEN, INFO["token"]), (Key.COMPANY_ID, INFO["companyId"]))
    kept = repr([getattr(update, name) for name in SessionUpdate.__dataclass_fields__ if name != "match"])
    assert "example.com" not in kept
    assert INFO["token"] not in repr(update)


def test_an_approved_company_that_is_due_again_changes_nothing_about_its_link():
    update = read(KYB, {"id": "66d07d0c9f1b", "expirationStatus": "EXPIRED"}, "COMPANY_EXPIRATION")
    assert (update.state, update.alert) == (None, True)


def test_other_events_of_a_company_change_nothing():
    cases = ["COMPANY_DELETE", "COMPANY_AML_REVIEW", "GOV_ORDERED_DOCUMENT", "SOS_REPORT", AUTO, "", "NEXT_YEARS"]
    content = {**REVIEW, "companyId": "66d07d0c9f1b"}
    assert [event for event in cases if read(KYB, content, event).state is not None] == []


# Hostile bodies


def test_hostile_bytes_are_read_and_never_repeated(subtests):
    for event, (what, raw) in product([AUTO, "COMPANY_REVIEW", "COMPANY_INFO_REQUEST", None], HOSTILE_BODIES.items()):
        with subtests.test(event=event, what=what):
            for reader in (KYC, KYB):
                update = reader.read(signed(raw, event=event))
                assert isinstance(update, SessionUpdate | Unreadable)
                if isinstance(update, Unreadable):
                    assert update.status == 200
                    assert len(update.reason) < 80


@pytest.mark.parametrize("raw", [HOSTILE_BODIES["a field twice"], HOSTILE_BODIES["twice within"]])
def test_a_field_that_appears_twice_decides_nothing(raw):
    assert isinstance(KYC.read(signed(raw, event=AUTO)), Unreadable)


def test_wrong_types_anywhere_are_no_verdict(subtests):
    for wrong in WRONG:
        with subtests.test(case=repr(wrong)):
            for name in body():
                update = read(KYC, {**body(), name: wrong}, AUTO)
                assert isinstance(update, SessionUpdate)
            assert read(KYC, {**body(), "final": wrong}, AUTO).final is (wrong is True)
            assert read(KYC, {**body(), "status": wrong}, AUTO).state is None
            assert read(KYC, {**body(), "status": {"overall": wrong}}, AUTO).state is None
            for event, usual in (
                ("COMPANY_SUBMIT", SUBMIT),
                ("COMPANY_REVIEW", REVIEW),
                ("COMPANY_INFO_REQUEST", INFO),
            ):
                for name in usual:
                    assert isinstance(read(KYB, {**usual, name: wrong}, event), SessionUpdate)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=40)
@given(
    st.sampled_from([AUTO, MANUAL, LEGACY, "IDENTIFICATION_EXPIRED", "COMPANY_REVIEW", "COMPANY_INFO_REQUEST"]),
    st.fixed_dictionaries({}, optional={name: JSON for name in {**body(), **REVIEW, **INFO}}),
    st.text(max_size=80),
)
def test_no_body_raises(event, content, name):
    raw = json.dumps(content).encode("utf-8", "surrogatepass")
    for reader in (KYC, KYB):
        assert isinstance(reader.read(signed(raw, event=event)), SessionUpdate | Unreadable)
        assert isinstance(reader.read(signed(raw, event=name)), SessionUpdate | Unreadable)


@pytest.mark.parametrize("body", [b"{}", b'{"final": true, "data": {"docFirstName": "\xc5\xbd"}}', b" " * 70_000])
def test_the_signature_is_what_openssl_makes_of_the_raw_bytes(body):
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    made = subprocess.run([openssl, "dgst", "-sha256", "-hmac", KEY], input=body, capture_output=True, check=True)
    headers = {"idenfy-signature": made.stdout.decode().rpartition("= ")[2].strip()}
    assert idenfy("idenfy-kyc").refuses(Delivery(body, headers), now=NOW) == ""
    assert idenfy("idenfy-kyc").refuses(Delivery(body + b" ", headers), now=NOW)
