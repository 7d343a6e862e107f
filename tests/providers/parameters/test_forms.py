"""Values of nested and of other forms: how a problem names them, and which form they fit."""

from onboarding_worker.providers.parameters import check_parameters, unknown_parameter
from tests.providers.parameters.reference import parameters_of


def test_a_name_of_the_other_form_is_known_to_a_list_and_refused_by_the_account(subtests):
    cases = [
        ("openapi", "firstName", "client.name"),
        ("openapi", "expiryTime", "lifetime"),
        ("openapi", "callbackUrl", "urls.webhookUrl"),
        ("openapi", "verifyAddress", "settings.verifyPoaAddress"),
        ("openapi", "reviewFailed", "settings.reviewFailedVerifications"),
        ("openapi", "country", "allowedCountries"),
        ("narrative", "client.surname", "lastName"),
        ("narrative", "settings.verifyEmail", "verifyEmail"),
        ("narrative", "urls.failUrl", "errorUrl"),
        ("narrative", "lifetime", "expiryTime"),
        ("narrative", "allowedDocuments", "documents"),
    ]
    for dialect, name, near in cases:
        with subtests.test(dialect=dialect, name=name, near=near):
            assert unknown_parameter("idenfy-kyc", name) is None
            assert unknown_parameter("idenfy-kyc", name, dialect) == (
                f"is not known to the {dialect} form of idenfy-kyc; the nearest is {near}"
            )
            (problem,) = check_parameters("idenfy-kyc", {name: "x"}, dialect)
            assert (problem.column, problem.problem) == (
                f"idenfy-kyc.{name}",
                f"is not known to the {dialect} form of idenfy-kyc; the nearest is {near}",
            )


def test_a_parameter_that_the_other_form_has_no_word_for_is_refused_too():
    assert "is not known to the openapi form" in unknown_parameter("idenfy-kyc", "checkAml", "openapi")


def test_values_without_a_form_must_fit_one_of_them_as_a_whole():
    assert check_parameters("idenfy-kyc", {"firstName": "Jonas", "checkAml": True}) == []
    assert check_parameters("idenfy-kyc", {"client": {"name": "Jonas"}, "lifetime": 60}) == []
    (problem,) = check_parameters("idenfy-kyc", {"client": {"name": "Jonas"}, "checkAml": True, "lifetime": 60})
    assert problem.column == "idenfy-kyc.checkAml"


def test_a_nested_value_is_named_by_its_whole_path():
    values = {"entity": {"name": {"givenName": 5, "nick": "M"}, "flags": [{}, {"value": "x"}]}, "relayState": ""}

    problems = {problem.column: problem.problem for problem in check_parameters("frankieone-v1", values)}

    assert problems == {
        "frankieone-v1.entity.name.givenName": "must be text",
        "frankieone-v1.entity.name.nick": problems["frankieone-v1.entity.name.nick"],
        "frankieone-v1.entity.flags": "in item 2: value must be a whole number",
        "frankieone-v1.relayState": "must be at least 1 characters",
    }
    assert problems["frankieone-v1.entity.name.nick"].startswith("frankieone-v1 has no such parameter")


def test_a_country_is_one_that_there_is():
    cases = [("NZL", True), ("XXX", False), ("NZ", False), ("nzl", False)]
    for provider in ("frankieone-v1", "frankieone-v2"):
        for country, good in cases:
            assert (check_parameters(provider, {"country": country}) == []) is good


def test_each_form_has_its_own_table():
    assert "client" not in parameters_of("idenfy-kyc")
    assert "firstName" not in parameters_of("idenfy-kyc", "openapi")
    assert parameters_of("idenfy") == {}
