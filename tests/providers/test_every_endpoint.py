"""What our own endpoints do in the same way, each with names and bounds of its own."""

from datetime import timedelta
from urllib.parse import urlsplit

import pytest

from onboarding_testing.accounts import ENTITY, NOW, PlainSecret, company_request, request
from onboarding_worker.core.model.customers import CustomerKind, Person
from onboarding_worker.core.model.endings import Kind, Problem
from onboarding_worker.core.model.sessions import ExpirySource
from onboarding_worker.providers.account import AccountUnusable
from onboarding_worker.providers.facts import asked_lifetime, lifetime_of
from tests.providers.endpoints import HOSTED, KYB, KYC, OPENAPI, V1, V2

HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(days=7)
IVS = "https://ivs.idenfy.com/"


# What is sent


def test_the_country_of_the_line_only_routes():
    assert [one for one in (KYC, V1, V2) if "country" in one.body(country="LT")] == []
    assert KYC.body({"country": ["LT"]}, country="LT")["country"] == ["LT"]
    assert V2.body({"country": "AUS"}, country="AU")["country"] == "AUS"


def test_a_sex_that_is_neither_m_nor_f_is_not_sent():
    for sex, code in {"m": "M", "F": "F", "X": None, "female": None, "": None}.items():
        kyc, v1 = (one.body(account={"prefill": "all"}, person=Person(sex=sex)) for one in (KYC, V1))
        assert (kyc.get("sex"), v1["entity"].get("gender")) == (code, code)


def test_a_session_is_asked_to_live_as_long_as_the_account_says_or_the_line(subtests):
    digits, none = {"generateDigitString": True}, {"lifetime": None}
    cases = [
        (KYC, "expiryTime", {}, {}, 604800),
        (KYC, "expiryTime", {"lifetime": timedelta(hours=12)}, {}, 43200),
        (KYC, "expiryTime", none, {}, None),
        (KYC, "expiryTime", {}, {"expiryTime": 3600}, 3600),
        (KYC, "expiryTime", {"parameters": {"expiryTime": 3600}}, {}, 3600),
        # With a digit string at most a day.
        (KYC, "expiryTime", {}, digits, 86400),
        (KYC, "expiryTime", none, digits, 86400),
        (KYC, "expiryTime", {"lifetime": timedelta(hours=12)}, digits, 43200),
        (KYC, "expiryTime", {"parameters": digits}, {}, 86400),
        (KYC, "expiryTime", {"parameters": digits}, {"generateDigitString": False}, 604800),
        (OPENAPI, "lifetime", {}, {}, 604800),
        (OPENAPI, "lifetime", {}, {"lifetime": 3600}, 3600),
        (OPENAPI, "lifetime", {}, digits, 86400),
        (KYB, "lifetime", {"lifetime": timedelta(hours=12)}, {}, 43200),
        (KYB, "lifetime", none, {}, 604800),  # it is always sent
        (KYB, "lifetime", {}, {"lifetime": 3600}, 3600),
        (KYB, "lifetime", {"parameters": {"lifetime": 60}}, {}, 60),
    ]
    for adapter, name, account, parameters, seconds in cases:
        with subtests.test(name=name, account=account, parameters=parameters):
            sent = adapter.body(parameters, account)

            assert sent.get(name) == seconds
            assert {"expiryTime", "lifetime"} & set(sent) <= {name}


def test_a_links_life_is_the_rows_own_parameters_before_the_accounts(subtests):
    digits = {"generateDigitString": True}
    cases = [
        (KYC, {}, {}, WEEK),
        (KYC, {"lifetime": HOUR}, {}, HOUR),
        (KYC, {"parameters": {"expiryTime": 7200}}, {}, 2 * HOUR),
        (KYC, {"parameters": {"expiryTime": 7200}}, {"expiryTime": 3600}, HOUR),
        (KYC, {"unchecked": {"expiryTime": 3600}}, {"expiryTime": 7200}, HOUR),  # sent instead of the row's
        (KYC, {}, {"lifetime": 3600}, WEEK),  # the other form's parameter
        (KYC, {}, digits, DAY),
        (KYC, {"parameters": digits}, {}, DAY),
        (KYC, {"lifetime": HOUR, "parameters": digits}, {}, HOUR),
        (KYC, {"lifetime": None}, {}, DAY),  # nothing is asked for: the provider's own
        (OPENAPI, {}, {}, WEEK),
        (OPENAPI, {"parameters": {"lifetime": 3600}}, {}, HOUR),
        (OPENAPI, {}, {"lifetime": 3600}, HOUR),
        (KYB, {}, {"lifetime": 3600}, HOUR),
        (KYB, {"lifetime": None}, {}, WEEK),
        (KYB, {}, {"lifetime": 0}, timedelta(0)),
        (V2, {}, {}, None),  # the vendor decides
        (V2, {"lifetime": HOUR}, {"lifetime": 3600}, None),
    ]
    for adapter, account, row, lives in cases:
        with subtests.test(account=account, row=row, lives=lives):
            assert lifetime_of(adapter.account(**account), row) == lives
            assert adapter.make(**account).lifetime_with(row) == lives
            assert row or adapter.make(**account).lifetime == lives


def test_a_request_names_no_lifetime_that_nobody_asked_for():
    assert asked_lifetime(KYC.account(lifetime=None)) is None


# What is read


def test_without_a_readable_expiry_the_lifetime_that_was_asked_for_counts(subtests):
    seconds = [None, 0, -5, 2592001, 10**30, True, "600", 600.0, [600], {"s": 600}, int(NOW.timestamp()) + 3600]
    times = [None, "", "soon", "tomorrow", 1795161600, True, "2026-11-21", "9999-12-31T00:00:00Z"]
    cases = [
        (KYC, {}, request(), "expiryTime", seconds, WEEK),
        (KYC, {}, request({"expiryTime": 60}), "expiryTime", [None], timedelta(minutes=1)),
        (KYC, {"lifetime": None}, request(), "expiryTime", [None], DAY),
        (OPENAPI, {}, request({"lifetime": 3600}), "expiration", times, HOUR),
        (OPENAPI, {"lifetime": None}, request(), "expiration", [None], DAY),
        (KYB, {}, company_request({"lifetime": 7200}), "expiration", [*times, "2030-01-01T00:00:00Z"], 2 * HOUR),
        # Where the vendor decides: an hour.
        (V1, {}, request(), "tokenExpiry", [*times, "in an hour"], HOUR),
        (V2, {}, request(), "tokenExpiry", times, HOUR),
        (HOSTED, {}, request(), "urlExpiry", times, HOUR),
    ]
    for adapter, account, asked, name, values, lives in cases:
        for value in values:
            with subtests.test(name=name, value=value):
                session = adapter.read(account, asked, **{name: value})

                assert (session.expires_at, session.expiry_source) == (NOW + lives, ExpirySource.FALLBACK)


@pytest.mark.parametrize("adapter", [OPENAPI, KYB], ids=["openapi", "kyb"])
def test_a_session_that_is_not_valid_is_asked_for_once_more_and_no_further(adapter):
    problem = adapter.read(isValid=False)

    assert isinstance(problem, Problem)
    assert (problem.kind, problem.most_attempts) == (Kind.TRANSIENT, 2)


def page(link, *hosts):
    return {"link": link, "link_hosts": (*hosts, urlsplit(link).netloc)}


def test_the_link_is_the_answers_or_the_accounts_with_the_token_quoted(subtests):
    elsewhere = (None, 5, "", f"http{IVS[5:]}x", "https://evil.example/?authToken=T7hK2pWq9s", "javascript:alert(1)")
    documented = f"{IVS}api/v2/redirect?authToken="
    with_vendor = {"token": "t", "provider": "OCRLabs", "vendorParameters": {"configId": "a b"}}
    hosted = page("https://bank.example/go?to={token}", "hosted.frankieone.example")
    cases = [
        *((KYC, {}, {"redirectUrl": one, "authToken": "a/b+c"}, f"{documented}a%2Fb%2Bc") for one in elsewhere),
        (OPENAPI, {}, {"sessionUrl": f"{IVS}a", "redirectUrl": f"{IVS}b"}, f"{IVS}a"),
        (OPENAPI, {}, {"sessionUrl": None, "redirectUrl": f"{IVS}b"}, f"{IVS}b"),
        (OPENAPI, {}, {"sessionUrl": f"http{IVS[5:]}a", "redirectUrl": f"{IVS}b"}, f"{IVS}b"),
        (OPENAPI, {}, {"sessionUrl": "https://strange.example/a"}, f"{documented}qL8vX2mNqL8vX2mNqL8v"),
        (KYB, {}, {"tokenString": "a/b+c"}, "https://kyb.ui.idenfy.com/welcome?authToken=a%2Fb%2Bc"),
        (HOSTED, {}, {}, HOSTED.opened["url"]),
        (
            KYC,
            page("https://v.test/{reference}/{customer_id}?t={token}"),
            {"authToken": "a/b", "customer_id": "x"},
            "https://v.test/a1c3e5f7-0000-11ee-8d55-123456789abc/C-88123?t=a%2Fb",
        ),
        (KYB, page("https://k.test/{token}"), {}, f"https://k.test/{KYB.opened['tokenString']}"),
        (V1, page("https://v.test/{reference}#{token}"), {"token": "a/b"}, f"https://v.test/{ENTITY}#a%2Fb"),
        (
            V2,
            page("https://v.test/{reference}/{customer_id}#token={token}"),
            {"token": "a/b+c="},
            f"https://v.test/{ENTITY}/C-88123#token=a%2Fb%2Bc%3D",
        ),
        (
            V2,
            page("https://v.test/{provider}#token={token}&config={vendor.configId}"),
            with_vendor,
            "https://v.test/OCRLabs#token=t&config=a%20b",
        ),
        (
            HOSTED,
            hosted,
            {},
            "https://bank.example/go?to=https%3A%2F%2Fhosted.frankieone.example%2Fs%2F0Jt9vQ2mX7cR4kW8",
        ),
    ]
    for adapter, account, answered, link in cases:
        with subtests.test(account=account, answered=answered):
            assert adapter.read(account, **answered).link == link


def test_a_token_that_no_link_can_hold_leaves_what_a_repetition_costs():
    too_long = "does not fit into a link"
    assert KYC.read(authToken="ü" * 4000, redirectUrl=None) == Problem(
        Kind.UNKNOWN,
        f"HTTP 201: the authToken in the answer {too_long}",
        status=201,
        words="Token created successfully",
    )
    assert V2.read(token="ü" * 4000) == Problem(
        Kind.TRANSIENT, f"HTTP 200: the token in the answer {too_long}", status=200
    )


# What is refused


def test_what_an_endpoint_cannot_serve_is_named_by_its_column(subtests):
    no_matching, tagged = {"parameters": {"autoFaceMatching": False}}, {"parameters": {"tags": ["bank"]}}
    named = {"prefill": "name"}
    cases = [
        (KYC, no_matching, {"external_ref": "x" * 41}, "external_ref"),
        (KYC, no_matching, {"external_ref": "é"}, "external_ref"),
        (KYC, no_matching, {"customer_id": "ü"}, "customer_id"),
        (KYC, no_matching, {"kind": CustomerKind.COMPANY}, "kind"),
        (KYC, no_matching, {"parameters": {"idenfy-kyc": {"checkLiveness": True}}}, "idenfy-kyc.checkLiveness"),
        (OPENAPI, named, {"parameters": {"idenfy-kyc": {"firstName": "Eva"}}}, "idenfy-kyc.firstName"),
        (OPENAPI, named, {"parameters": {"idenfy-kyc": {"client": {"name": "x" * 101}}}}, "idenfy-kyc.client.name"),
        (OPENAPI, named, {"external_ref": "x" * 41}, "external_ref"),
        (OPENAPI, named, {"person": Person(first_name="x" * 101)}, "first_name"),
        (OPENAPI, named, {"kind": CustomerKind.COMPANY}, "kind"),
        (KYB, {}, {"kind": CustomerKind.INDIVIDUAL}, "kind"),
        (KYB, tagged, {"tags": ("x" * 33,)}, "tags"),
        (KYB, tagged, {"tags": ("a,b",)}, "tags"),
        (KYB, tagged, {"tags": ("a", "b", "c", "d", "e")}, "tags"),
        (KYB, tagged, {"external_ref": "x" * 41}, "external_ref"),
        (KYB, tagged, {"parameters": {"idenfy-kyb": {"flow": "x"}}}, "idenfy-kyb.flow"),
        (KYB, tagged, {"parameters": {"idenfy-kyb": {"tags": ["a,b"]}}}, "idenfy-kyb.tags"),
        (V1, {}, {"kind": CustomerKind.COMPANY}, "kind"),
        (V1, {}, {"parameters": {"frankieone-v1": {"country": "AU"}}}, "frankieone-v1.country"),
        (V1, {}, {"parameters": {"frankieone-v1": {"entity": {"nme": {}}}}}, "frankieone-v1.entity.nme"),
        (V2, {}, {"entity_id": ""}, "entity_id"),
        (V2, {}, {"entity_id": "test"}, "entity_id"),
        (V2, {}, {"entity_id": ENTITY[:-1]}, "entity_id"),
        (V2, {}, {"entity_id": f"{{{ENTITY}}}"}, "entity_id"),
        (V2, {}, {"entity_id": ENTITY.replace("-", "")}, "entity_id"),
        (V2, {}, {"kind": CustomerKind.COMPANY}, "kind"),
        (V2, {}, {"parameters": {"frankieone-v2": {"country": "AU"}}}, "frankieone-v2.country"),
        (HOSTED, {}, {"kind": CustomerKind.COMPANY}, "kind"),
        (HOSTED, {}, {"parameters": {"frankieone-hosted": {"sendSMS": True}}}, "frankieone-hosted.sendSMS"),
    ]
    for adapter, account, fields, column in cases:
        with subtests.test(fields=fields, column=column):
            problems = adapter.make(**account).refuses(adapter.customer(**fields))

            assert [problem.column for problem in problems] == [column]


def test_an_account_whose_sessions_could_not_be_opened_does_not_start(subtests):
    cases = [
        (KYC, {"api_secret": None}, "api_secret"),
        (KYC, {"api_key": None}, "api_key"),
        (KYC, {"link_hosts": ("verify.example.com",)}, "link_hosts"),
        (KYC, page("https://verify.example.com/start"), "link"),
        (KYC, {"link": "https://other.example.com/{token}", "link_hosts": ("verify.example.com",)}, "link"),
        (KYB, {"api_secret": None}, "api_secret"),
        (KYB, {"link_hosts": ("ivs.idenfy.com",)}, "link_hosts"),
        *((adapter, {key: None}, key) for adapter in (V1, V2) for key in ("api_key", "customer_id", "link")),
        (V2, {"link": "https://elsewhere.example/#{token}"}, "link"),
        (HOSTED, {"dialect": "HOSTED"}, "dialect"),
        (HOSTED, {"link_hosts": ()}, "link_hosts"),
    ]
    for adapter, settings, key in cases:
        with subtests.test(settings=settings, key=key):
            with pytest.raises(AccountUnusable) as caught:
                adapter.make(**settings)

            assert caught.value.key == key
            assert str(caught.value).startswith(f"accounts.{adapter.account().name}.{key}: ")


@pytest.mark.parametrize(
    ("adapter", "names"),
    [(KYC, ("api_key", "api_secret")), (V2, ("api_key", "customer_id", "customer_child_id"))],
    ids=["kyc", "v2"],
)
def test_every_secret_is_read_again_even_when_the_first_has_changed(adapter, names):
    secrets = {name: PlainSecret(name, ["new"]) for name in names}
    provider = adapter.make(**secrets)

    assert provider.reload_credentials()
    assert {secret.reveal() for secret in secrets.values()} == {"new"}
    assert not provider.reload_credentials()
