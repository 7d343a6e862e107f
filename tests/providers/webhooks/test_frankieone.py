"""FrankieOne's webhooks: the check that they are genuine, and the meaning of each function in all three editions."""

import json
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from onboarding_worker.core.model.states import Result, SessionState
from onboarding_worker.providers.account import AccountUnusable
from onboarding_worker.providers.contract import build_webhook_reader
from onboarding_worker.providers.webhooks.contract import LARGEST, Delivery, Key, SessionUpdate, Unreadable
from tests.providers.webhooks.accounts import HASHES, HOSTILE_BODIES, NOW, SECRET, WRONG, Webhooks, frankie, pem, token
from tests.suite.rsa_keys import ANOTHER as OTHER
from tests.suite.rsa_keys import OURS as PRIVATE
from tests.suite.rsa_keys import SHORT

ENTITY = "7b0d2f6e-9c51-4a8e-8f0a-2d1c5e4b9a77"
REQUEST = "01JZX0Q2M7T4N8YB6C3D5F9HKV"
PATH = (SECRET, REQUEST)
STARTED, COMPLETED = SessionState.STARTED, SessionState.COMPLETED


def body(function="RESULTS_RETRIEVED", result="SUCCESS", **more):
    return {
        "version": "2.0.0",
        "entityId": ENTITY,
        "function": function,
        "functionResult": result,
        "notificationType": "EVENT",
        "requestId": REQUEST,
        "message": "Results of Vita Sample",
        **more,
    }


def read(content, reader=None):
    return (reader or frankie()).read(Delivery(json.dumps(content).encode(), path=PATH))


# The secret in the address


def test_the_address_with_the_secret_is_genuine():
    for path in (PATH, (SECRET,), (SECRET, REQUEST, "more")):
        assert frankie().refuses(Delivery(b"{}", path=path), now=NOW) == ""


def test_any_other_address_is_refused():
    cases = [(), ("",), (REQUEST,), (SECRET[:-1],), (SECRET + "x",), (SECRET.upper(),), (REQUEST, SECRET), ("\ud800",)]
    assert [path for path in cases if frankie().refuses(Delivery(b"{}", path=path), now=NOW) == ""] == []


def test_each_of_the_secrets_is_the_address_while_they_are_changed():
    both = frankie(secret=("the-new-unguessable-segment", SECRET))
    for first in ("the-new-unguessable-segment", SECRET):
        assert both.refuses(Delivery(b"{}", path=(first, REQUEST)), now=NOW) == ""
    for path in ((), ("the-new-unguessable-segment" + SECRET,), (REQUEST, SECRET), ("",)):
        assert both.refuses(Delivery(b"{}", path=path), now=NOW) != ""


def test_without_secret_and_key_no_webhook_is_accepted():
    with pytest.raises(AccountUnusable) as raised:
        build_webhook_reader(Webhooks("frankieone-v1", name="au"))
    assert raised.value.key == "webhook_secret"


def test_a_body_that_is_too_large_is_refused():
    assert frankie().refuses(Delivery(b"a" * (LARGEST + 1), path=PATH), now=NOW) == "it is too large"


# The token

PUBLIC = pem(PRIVATE)


def fresh(**more):
    return token(claims={"exp": NOW.timestamp() + 60}, **more)


def refused(value, *, header="authorization", reader=None, path=(REQUEST,)):
    reader = reader or frankie(secret=None, jwt_key=PUBLIC)
    return reader.refuses(Delivery(b"{}", {header: value}, path), now=NOW)


@pytest.mark.parametrize("alg", HASHES)
def test_a_token_of_the_configured_key_is_genuine(alg):
    assert refused(f"Bearer {fresh(alg=alg)}") == ""
    assert refused(fresh(alg=alg)) == ""


def test_the_header_may_have_any_name_since_only_the_signer_can_sign():
    assert refused(fresh(), header="x-frankie-signature") == ""


def test_a_token_next_to_a_foreign_one_is_found():
    reader = frankie(secret=None, jwt_key=PUBLIC)
    headers = {"x-proxy-token": fresh(key=OTHER), "authorization": f"Bearer {fresh()}"}
    assert reader.refuses(Delivery(b"{}", headers), now=NOW) == ""


def test_each_of_the_keys_makes_good_tokens_while_they_are_changed():
    both = frankie(secret=None, jwt_key=(pem(OTHER), PUBLIC))
    for key in (PRIVATE, OTHER):
        assert refused(fresh(key=key), reader=both) == ""
    assert refused(token(claims={"exp": NOW.timestamp() - 61}), reader=both) == "it has expired"
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    assert refused(fresh(key=stranger), reader=both) == "no key of the account verifies its signature"
    with pytest.raises(AccountUnusable):
        frankie(secret=None, jwt_key=(PUBLIC, "no key"))


def test_headers_of_proxies_are_not_mistaken_for_tokens():
    reader = frankie(secret=None, jwt_key=PUBLIC)
    hosts = {"host": "hooks.example.com", "x-forwarded-host": "hooks.example.org", "x-forwarded-server": "a.b.c"}
    copies = {f"x-copy-{number}": fresh(key=OTHER) for number in range(3)}
    headers = {**hosts, "x-version": "1.2.3", **copies, "authorization": f"Bearer {fresh()}"}
    assert reader.refuses(Delivery(b"{}", headers), now=NOW) == ""


def test_a_token_counts_during_its_own_time(subtests):
    cases = [
        ({"exp": 60}, True),
        ({"exp": 90_000}, False),
        ({"nbf": 30, "exp": 99}, True),
        ({"nbf": -9999, "exp": 9999}, True),
        ({}, False),
    ]
    for claims, good in cases:
        with subtests.test(claims=claims):
            seconds = {name: NOW.timestamp() + value for name, value in claims.items()}
            assert (refused(token(claims=seconds)) == "") is good


def test_where_both_are_configured_both_are_asked_for():
    both = frankie(jwt_key=PUBLIC)
    assert refused(fresh(), reader=both, path=PATH) == ""
    assert refused(fresh(), reader=both, path=(REQUEST,))
    assert refused(fresh(key=OTHER), reader=both, path=PATH)
    assert both.refuses(Delivery(b"{}", path=PATH), now=NOW)


def private_pem() -> str:
    form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return PRIVATE.private_bytes(serialization.Encoding.PEM, form, none).decode()


NO_KEYS = {
    "text": "no key",
    "broken": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
    "elliptic": pem(ec.generate_private_key(ec.SECP256R1())),
    "short": pem(SHORT),
    "private": private_pem(),
}


def test_a_key_that_is_no_good_rsa_public_key_stops_the_start(subtests):
    for what, key in NO_KEYS.items():
        with subtests.test(what=what):
            with pytest.raises(AccountUnusable) as raised:
                frankie(secret=None, jwt_key=key)
            assert raised.value.key == "jwt_key"
            assert "AAAA" not in str(raised.value)


# The functions

NO_CHANGE = (None, None, False, False)
RESULTS_THERE = (COMPLETED, Result.UNKNOWN, True, False)
READ = (STARTED, None, False, False)
MEANINGS = {
    ("TOKEN_REQUESTED", "SUCCESS"): NO_CHANGE,
    ("IDVTokenRequested", "SUCCESS"): NO_CHANGE,
    ("TOKEN_REQUESTED", "FAILED"): NO_CHANGE,
    ("TOKEN_ERROR", "FAILED"): NO_CHANGE,
    ("ONB_URL_GENERATED", "SUCCESS"): NO_CHANGE,
    ("OnbTokenRequested", "COMPLETED"): NO_CHANGE,
    ("OCR_PROCESSED", "SUCCESS"): READ,
    ("IDVOCRProcessing", "SUCCESS"): READ,
    ("OCR_PROCESSED", "FAILURE"): READ,
    ("OCR_ERROR", "FAILED"): READ,
    ("RESULTS_RETRIEVED", "SUCCESS"): RESULTS_THERE,
    ("IDVResultsRetrieved", "SUCCESS"): RESULTS_THERE,
    ("IDVResultsRetrieved", "COMPLETED"): RESULTS_THERE,
    ("RESULTS_RETRIEVED", "FAILED"): (STARTED, None, False, True),
    ("RESULTS_ERROR", "FAILED"): (STARTED, None, False, True),
    ("RESULTS_ERROR", "SUCCESS"): (STARTED, None, False, True),
    ("WorkflowComplete", "SUCCESS"): RESULTS_THERE,
    ("WORKFLOW_COMPLETE", "SUCCESS"): RESULTS_THERE,
    ("WorkflowComplete", "FAILURE"): (None, None, False, True),
    ("WORKFLOW_ERROR", "ERROR"): (None, None, False, True),
    ("EntityStatusChanged", "SUCCESS"): NO_CHANGE,
    ("EntityRiskChanged", "SUCCESS"): NO_CHANGE,
    ("EntityProfileUpdated", "SUCCESS"): NO_CHANGE,
    ("EntityAssigneeChanged", "SUCCESS"): NO_CHANGE,
    ("EntityStatusChange", "COMPLETED"): NO_CHANGE,
    ("EntityProfileChange", "COMPLETED"): NO_CHANGE,
    ("UpdateCheckEntity", "COMPLETED"): NO_CHANGE,
    ("entity.create", "COMPLETED"): NO_CHANGE,
    ("OfNextYear", "SUCCESS"): NO_CHANGE,
    ("OfNextYear", "FAILED"): NO_CHANGE,
}


def test_each_function_means_what_the_table_says(subtests):
    for provider, (event, meaning) in product(["frankieone-v1", "frankieone-v2"], MEANINGS.items()):
        with subtests.test(provider=provider, case="-".join(map(str, event))):
            update = read(body(*event), frankie(provider))
            assert (update.state, update.result, update.final, update.alert) == meaning


def test_whatever_is_no_success_is_an_error():
    cases = ["", None, "success!", "OK", 1, True]
    assert [result for result in cases if read(body("RESULTS_RETRIEVED", result)).state is not STARTED] == []


def test_it_names_the_entity_and_then_the_customer():
    assert read(body(entityCustomerReference="c-0001")).match == (
        (Key.ENTITY_ID, ENTITY),
        (Key.CUSTOMER_REFERENCE, "c-0001"),
    )


def test_it_happened_no_earlier_than_its_request_was_made():
    # Crockford's base 32, by hand: 01JZX0Q2M7 is 1752229906 s and 567 ms.
    digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    milliseconds = 0
    for letter in REQUEST[:10]:
        milliseconds = milliseconds * 32 + digits.index(letter)
    expected = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    assert read(body()).happened_at == expected
    assert expected.year == 2025


def test_a_request_id_of_another_kind_has_no_time():
    cases = [*WRONG, "Z" * 26, "0" * 26, REQUEST.lower(), "ILOU" * 6 + "00", REQUEST + "0"]
    assert [(value, got) for value in cases if (got := read(body(requestId=value)).happened_at) is not None] == []


def test_its_message_is_not_kept():
    update = read(body("RESULTS_ERROR", "FAILED", extraData=[{"kvpKey": "name", "kvpValue": "Vita"}]))
    kept = repr([getattr(update, name) for name in SessionUpdate.__dataclass_fields__])
    assert "Vita" not in kept
    assert ENTITY not in repr(update)


# Hostile bodies


def test_what_cannot_be_read_is_answered_400_so_that_it_is_not_repeated(subtests):
    for what, raw in HOSTILE_BODIES.items():
        with subtests.test(case=what):
            update = frankie().read(Delivery(raw, path=PATH))
            assert isinstance(update, SessionUpdate | Unreadable)
            if isinstance(update, Unreadable):
                assert update.status == 400
            else:
                assert (update.state, update.match) == (None, ())


def test_unreadable_bodies_are_told_from_readable_ones():
    unreadable = {name for name, raw in HOSTILE_BODIES.items() if isinstance(frankie().read(Delivery(raw)), Unreadable)}
    assert {"empty", "no object", "html", "no UTF-8", "nan", "deep", "a field twice", "too large"} <= unreadable


def test_wrong_types_anywhere_are_no_result(subtests):
    for wrong in WRONG:
        with subtests.test(case=repr(wrong)):
            for name in body():
                update = read(body(**{name: wrong}))
                assert isinstance(update, SessionUpdate)
                if name in ("function", "functionResult"):
                    assert update.state is not COMPLETED


def test_an_account_says_what_its_tokens_must_have():
    claims = {"iss": "frankie", "aud": "bank", "exp": NOW.timestamp() + 60}
    for wanted, good in (({}, True), ({"jwt_audience": "bank"}, True), ({"jwt_audience": "other"}, False)):
        reader = frankie(secret=None, jwt_key=PUBLIC, **wanted)
        assert (refused(token(claims=claims), reader=reader) == "") is good, wanted
