"""The sandbox's iDenfy KYB: the page's fields, the framework's texts, and the final slash of the address."""

from datetime import timedelta

import pytest

from tests.sandbox.customers import KYB
from tests.suite.some import some

LEAST = {"tokenType": "FORM", "clientId": "ORG-1"}
UUID = "3c90c3cc-0d44-4b50-8888-8dd25736052a"


async def ask(caller, body=LEAST, *, path=KYB, **how):
    return await caller.idenfy(body, path=path, **how)


async def test_a_form_is_answered_with_everything_that_the_page_names(caller, clock):
    given = {**LEAST, "lifetime": 7200, "externalRef": "r-1", "locale": "lt", "tags": ["q3"], "flow": UUID}

    status, _, body = await ask(caller, given)

    assert status == 201
    assert body == {
        "tokenType": "FORM",
        "tokenString": body["tokenString"],
        "expiration": (clock.now + timedelta(hours=2)).isoformat().replace("+00:00", "Z"),
        "isActive": True,
        "isValid": True,
        "companyId": None,
        "clientId": "ORG-1",
        "externalRef": "r-1",
        "locale": "lt",
        "flow": UUID,
        "theme": None,
        "tags": ["q3"],
        "scanRefs": None,
    }
    (entry,) = caller.sandbox.log
    assert (entry["endpoint"], entry["client"], entry["processed"]) == ("idenfy-kyb", "ORG-1", True)
    assert (entry["reference"], entry["token"]) == ("r-1", body["tokenString"])


async def test_without_a_lifetime_a_form_lives_an_hour(caller, clock):
    _, _, body = await ask(caller)

    assert body["expiration"].startswith((clock.now + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S"))


async def test_each_call_makes_another_token(caller):
    first, second = [(await ask(caller))[2] for _ in range(2)]

    assert first["tokenString"] != second["tokenString"]


async def test_without_the_slash_there_is_only_a_redirect(caller):
    status, headers, _ = await ask(caller, path="/idenfy/kyb/tokens")

    assert (status, headers["Location"]) == (301, "/idenfy/kyb/tokens/")
    (entry,) = caller.sandbox.log
    assert (entry["endpoint"], entry["status"], entry["processed"]) == ("unknown", 301, False)


async def test_a_wrong_address_is_not_found(caller):
    assert (await ask(caller, path="/idenfy/kyb/token/"))[0] == 404


async def test_a_wrong_secret_is_refused_with_the_kyb_pages_text(caller):
    status, _, body = await ask(caller, login="sandbox-key:other")

    assert (status, body["identifier"]) == (401, "AUTHENTICATION_FAILED")
    assert body["message"] == {"detail": "Invalid API key or secret.", "completed": False}


async def test_a_bad_field_is_named_with_a_list_of_texts(caller, subtests):
    for bad, named in [
        ({"tokenType": "SHEET"}, "tokenType"),
        ({"clientId": ""}, "clientId"),
        ({"clientId": "x" * 101}, "clientId"),
        ({"lifetime": 2592001}, "lifetime"),
        ({"lifetime": True}, "lifetime"),
        ({"externalRef": "x" * 41}, "externalRef"),
        ({"locale": "sv"}, "locale"),
        ({"locale": None}, "locale"),
        ({"flow": "x"}, "flow"),
        ({"theme": 5}, "theme"),
        ({"questionnaire": ""}, "questionnaire"),
        ({"questionnaireRequired": 1}, "questionnaireRequired"),
        ({"tags": ["a,b"]}, "tags"),
        ({"tags": ["x" * 33]}, "tags"),
        ({"tags": ["a", "b", "c", "d", "e", "f"]}, "tags"),
        ({"tags": None}, "tags"),
        ({"scanRefs": [""]}, "scanRefs"),
        ({"other": 1}, "other"),
    ]:
        with subtests.test(bad=bad, named=named):
            status, _, body = await ask(caller, {**LEAST, **bad})

            assert status == 400
            assert list(body) == [named]
            assert all(isinstance(text, str) for text in some(body[named]))
            assert caller.sandbox.log[-1]["processed"] is False


async def test_all_bad_fields_are_named_at_once(caller):
    _, _, body = await ask(caller, {"lifetime": -1})

    assert set(body) == {"lifetime", "tokenType", "clientId"}


async def test_nullable_values_may_be_null(caller):
    nulls = dict.fromkeys(["externalRef", "flow", "theme", "questionnaire", "scanRefs"])

    assert (await ask(caller, {**LEAST, **nulls}))[0] == 201


@pytest.mark.parametrize(("raw", "identifier"), [(b"{", "JSON_ERROR"), (b"[]", "VALIDATION_ERROR")])
async def test_a_body_that_is_no_json_object_is_refused(caller, raw, identifier):
    assert (await ask(caller, raw=raw))[2]["identifier"] == identifier


async def test_another_method_is_refused(caller):
    assert (await caller.ask("GET", "/idenfy/kyb/tokens/"))[0] == 405


async def test_a_field_at_its_bound_is_accepted(caller, subtests):
    for fine in [
        {"clientId": "x" * 100},
        {"lifetime": 0},
        {"lifetime": 2592000},
        {"externalRef": "x" * 40},
        {"tags": ["x" * 32, "b", "c", "d", "e"]},
        {"scanRefs": ["x" * 40]},
        {"questionnaire": "q", "questionnaireRequired": False, "theme": UUID},
    ]:
        with subtests.test(fine=fine):
            assert (await ask(caller, {**LEAST, **fine}))[0] == 201
