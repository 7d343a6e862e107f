import json
from datetime import UTC, datetime, timedelta

from onboarding_testing.accounts import API_KEY, ENTITY, NOW, PlainSecret, customer, request
from onboarding_worker.core.model.sessions import ExpirySource, SessionRequest
from tests.providers.accounts import FRANKIE_CUSTOMER
from tests.providers.endpoints import V2

body, opened = V2.body, V2.read


def test_the_request_is_what_the_document_asks_for():
    built = V2.make().build(request())

    assert built.method == "POST"
    assert built.url == f"https://api.uat.frankie.one/v2/individuals/{ENTITY}/actions/idv/token"
    assert dict(built.headers) == {
        "api_key": API_KEY,
        "X-Frankie-CustomerID": FRANKIE_CUSTOMER,
        "Content-Type": "application/json",
        "Accept": "application/json",
    }
    assert json.loads(built.body) == {"referrer": "https://verify.example.com", "relayState": "c0ffee00aa11"}


def test_child_and_channel_are_sent_where_the_account_has_them():
    headers = V2.make(customer_child_id=PlainSecret("child"), channel="api").build(request()).headers

    assert (headers["X-Frankie-CustomerChildID"], headers["X-Frankie-Channel"]) == ("child", "api")


def test_the_domain_of_the_page_is_the_links_unless_it_is_given():
    page = {"link": "https://verify.example.com:8443/start?to=x#{token}", "link_hosts": ("verify.example.com",)}
    assert body(account=page)["referrer"] == "https://verify.example.com:8443"
    for_all = {"parameters": {"referrer": "https://id.example.org"}}
    assert body(account=for_all)["referrer"] == "https://id.example.org"
    assert body({"referrer": "https://row.example.org"}, for_all)["referrer"] == "https://row.example.org"


def test_the_vendor_goes_on_with_the_applicant_of_the_session_before():
    again = request(applicant_id="ap_71f0")
    built = V2.make().build(again)
    assert json.loads(built.body)["applicantId"] == "ap_71f0"
    assert "applicantId" not in body()
    another = request({"applicantId": "ap_2"}, applicant_id="ap_71f0")
    assert json.loads(V2.make().build(another).body)["applicantId"] == "ap_2"


def test_the_entity_that_an_earlier_answer_gave_wins_over_the_lines():
    earlier = "00000000-0000-4000-8000-000000000001"

    url = V2.make().build(SessionRequest(customer(), "ref", entity_id=earlier)).url

    assert f"/individuals/{earlier}/" in url


def test_an_entity_id_cannot_leave_its_place_in_the_path():
    url = V2.make().build(SessionRequest(customer(), "ref", entity_id="../x?y#z")).url

    assert "/v2/individuals/..%2Fx%3Fy%23z/actions/idv/token" in url


def test_the_lines_parameters_win_over_the_accounts():
    account = {
        "parameters": {"provider": "onfido", "vendorParameters": {"a": "1", "b": "2"}},
        "unchecked": {"new": [1]},
    }

    sent = body({"provider": "ocrlabs", "vendorParameters.b": "3", "relayState": "mine"}, account)

    assert sent == {
        "provider": "ocrlabs",
        "vendorParameters": {"a": "1", "b": "3"},
        "relayState": "mine",
        "referrer": "https://verify.example.com",
        "new": [1],
    }


def test_the_expiry_is_the_answers_also_when_it_has_passed(subtests):
    for written, time in [
        ("2026-11-20T09:30:00Z", datetime(2026, 11, 20, 9, 30, tzinfo=UTC)),
        ("2026-11-20T20:30:00+11:00", datetime(2026, 11, 20, 9, 30, tzinfo=UTC)),
        ("2026-11-20T09:30:00", datetime(2026, 11, 20, 9, 30, tzinfo=UTC)),
        ("2026-11-20T07:59:59Z", datetime(2026, 11, 20, 7, 59, 59, tzinfo=UTC)),
        ("2020-01-01T00:00:00.000Z", datetime(2020, 1, 1, tzinfo=UTC)),
    ]:
        with subtests.test(written=written, time=time):
            session = opened(tokenExpiry=written)

            assert (session.expires_at, session.expiry_source) == (time, ExpirySource.ANSWER)


def test_an_expiry_of_the_year_one_is_over_and_breaks_no_arithmetic():
    assert opened(tokenExpiry="0001-01-01T00:00:00Z").expires_at - timedelta(days=365) < NOW


def test_the_providers_other_ids_are_kept_by_their_own_names():
    session = opened()

    assert session.references == {
        "entityId": ENTITY,
        "applicantId": "ap_71f0",
        "requestId": "01JZX0Q2M7T4N8YB6C3D5F9HKV",
    }
    assert (session.vendor, session.vendor_parameters) == ("onfido", {"tokenURL": "example1.com"})


def test_ids_that_are_not_there_are_not_made_up():
    assert opened(applicantId=None, requestId=5).references == {"entityId": ENTITY}


def test_vendor_parameters_are_kept_as_texts():
    parameters = {"a": "b", "n": 5, "o": {"x": [1]}, "long": "x" * 5000}

    assert opened(vendorParameters=parameters).vendor_parameters == {"a": "b", "n": "5", "o": '{"x": [1]}'}
    assert opened(vendorParameters=None).vendor_parameters == {}
    assert opened(vendorParameters=["a"]).vendor_parameters == {}


def test_a_text_message_that_frankieone_sent_itself_is_read():
    cases = [(True, True), (False, False), (None, False), ("true", False), (1, False)]
    assert [(flag, got) for flag, sent in cases if (got := opened(smsSent=flag).sms_sent) is not sent] == []


def test_a_vendors_long_token_is_accepted():
    token = "eyJ" + "a" * 3000

    assert opened(token=token).token == token


def test_an_entity_id_in_capitals_is_a_uuid():
    assert V2.make().refuses(customer(entity_id=ENTITY.upper())) == []
