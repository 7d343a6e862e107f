"""The parameters of the other endpoints (not iDenfy's narrative form, not FrankieOne v2): names, types, bounds."""

import pytest

from tests.providers.parameters.reference import parameters_of
from worker.providers.parameters import check_parameters, parameter_warnings, parse_cell, unknown_parameter

UUID = "3c90c3cc-0d44-4b50-8888-8dd25736052a"
CELLS = [
    ("idenfy-kyc", "client.name", "Jonas", "Jonas"),
    ("idenfy-kyc", "client.sex", "M", "M"),
    ("idenfy-kyc", "client.dateOfBirth", "1990-12-20", "1990-12-20"),
    ("idenfy-kyc", "client.dateOfIssue", "spring", "spring"),
    ("idenfy-kyc", "settings.verifyEmail", "true", True),
    ("idenfy-kyc", "urls.webhookUrl", "https://hooks.shop.test/x", "https://hooks.shop.test/x"),
    ("idenfy-kyc", "urls.successUrl", "myapp://done.test/x", "myapp://done.test/x"),
    ("idenfy-kyc", "lifetime", "0", 0),
    ("idenfy-kyc", "allowedCountries", "LT;LV", ["LT", "LV"]),
    ("idenfy-kyc", "client", '{"name": "Jonas"}', {"name": "Jonas"}),
    ("idenfy-kyc", "client", "null", None),
    ("idenfy-kyb", "lifetime", "604800", 604800),
    ("idenfy-kyb", "locale", "lt", "lt"),
    ("idenfy-kyb", "flow", UUID, UUID),
    ("idenfy-kyb", "theme", "null", None),
    ("idenfy-kyb", "questionnaire", "key", "key"),
    ("idenfy-kyb", "questionnaireRequired", "false", False),
    ("idenfy-kyb", "tags", "a;b", ["a", "b"]),
    ("idenfy-kyb", "scanRefs", "a1c3e5f7", ["a1c3e5f7"]),
    ("frankieone-v1", "country", "AUS", "AUS"),
    ("frankieone-v1", "documentType", "DRIVER_LICENCE", "DRIVER_LICENCE"),
    ("frankieone-v1", "entity.name.givenName", "Mirela", "Mirela"),
    ("frankieone-v1", "entity.dateOfBirth.dateOfBirth", "1987-11-02", "1987-11-02"),
    ("frankieone-v1", "entity.entityProfile", "safe_harbour", "safe_harbour"),
    ("frankieone-v1", "entity.flags", '[{"flag": "x", "value": 1}]', [{"flag": "x", "value": 1}]),
    ("frankieone-v1", "entity.addresses", '[{"suburb": "Carlton"}]', [{"suburb": "Carlton"}]),
    ("frankieone-v1", "entity.organisationData.status.code", "A", "A"),
    ("frankieone-v1", "entity.organisationData.ownershipResolved", "true", True),
    ("frankieone-v1", "entity.organisationData.shareStructure", '[{"amountPaid": 1.5}]', [{"amountPaid": 1.5}]),
]


def test_a_cell_becomes_the_value_that_the_provider_wants(subtests):
    for provider, name, cell, value in CELLS:
        with subtests.test(provider=provider, name=name, cell=cell, value=value):
            assert unknown_parameter(provider, name) is None
            assert parse_cell(provider, name, cell) == (value, None)
            assert check_parameters(provider, {name: value}, "openapi") == []


def test_a_cell_out_of_bounds_is_refused(subtests):
    cases = [
        ("idenfy-kyc", "client.name", "x" * 101),
        ("idenfy-kyc", "client.sex", "X"),
        ("idenfy-kyc", "client.dateOfBirth", "20.12.1990"),
        ("idenfy-kyc", "urls.webhookUrl", "hooks.shop.test"),
        ("idenfy-kyc", "settings.verifyEmail", "yes"),
        ("idenfy-kyc", "settings.verifyEmail", "null"),
        ("idenfy-kyc", "lifetime", "2592001"),
        ("idenfy-kyc", "allowedCountries", "LT;ALL"),
        ("idenfy-kyc", "client", '{"name": 5}'),
        ("idenfy-kyb", "lifetime", "2592001"),
        ("idenfy-kyb", "lifetime", "-1"),
        ("idenfy-kyb", "locale", "sv"),
        ("idenfy-kyb", "flow", "flow-1"),
        ("idenfy-kyb", "tags", "a;b;c;d;e;f"),
        ("idenfy-kyb", "tags", '["a,b"]'),
        ("idenfy-kyb", "tags", "x" * 33),
        ("idenfy-kyb", "scanRefs", "x" * 41),
        ("idenfy-kyb", "externalRef", "x" * 41),
        ("frankieone-v1", "country", "AU"),
        ("frankieone-v1", "entity.flags", '[{"flag": "x", "value": "1"}]'),
        ("frankieone-v1", "entity.flags", '{"flag": "x"}'),
        ("frankieone-v1", "entity.addresses", '[{"subrub": "Carlton"}]'),
        ("frankieone-v1", "entity.addresses", '["Carlton"]'),
        ("frankieone-v1", "entity.name", "Mirela"),
        ("frankieone-v1", "entity.organisationData.shareStructure", '[{"amountPaid": "1.5"}]'),
    ]
    for provider, name, cell in cases:
        with subtests.test(provider=provider, name=name, cell=cell):
            value, problem = parse_cell(provider, name, cell)

            assert value is None
            assert (
                problem.startswith("must ") or ": must " in problem or "in item 1" in problem or "name must" in problem
            )


def test_an_unknown_parameter_names_the_nearest():
    cases = [
        ("idenfy-kyc", "client.nme", "client.name"),
        ("idenfy-kyc", "surename", "client.surname"),
        ("idenfy-kyc", "webhookUrl", "urls.webhookUrl"),
        ("idenfy-kyb", "questionaire", "questionnaire"),
        ("idenfy-kyb", "Tags", "tags"),
        ("frankieone-v1", "entity.givenName", "entity.name.givenName"),
        ("frankieone-v1", "entity.name.givenname", "entity.name.givenName"),
        ("frankieone-v1", "dateOfBirth", "entity.dateOfBirth"),
    ]
    assert [
        (provider, name, near, got)
        for provider, name, near in cases
        if (got := unknown_parameter(provider, name)) != f"{provider} has no such parameter; the nearest is {near}"
    ] == []


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


@pytest.mark.parametrize(
    ("provider", "name", "instead"),
    [
        ("idenfy-kyb", "clientId", "customer_id"),
        ("idenfy-kyb", "tokenType", "always FORM"),
        ("frankieone-v1", "entity.entityId", "entity_id"),
        ("frankieone-v1", "consent", "the column consent"),
    ],
)
def test_what_is_filled_otherwise_cannot_be_given(provider, name, instead):
    assert instead in unknown_parameter(provider, name)
    assert instead in check_parameters(provider, {name: True})[0].problem


@pytest.mark.parametrize(
    ("values", "column"),
    [
        ({"settings": {"verifyBank": False, "verifyBankAccounts": True}}, "settings.verifyBankAccounts"),
        ({"settings.verifyBank": False, "settings.verifyBankBalances": True}, "settings.verifyBankBalances"),
        ({"generateDigitString": True, "lifetime": 86401}, "lifetime"),
    ],
)
def test_what_the_narrative_form_excludes_the_other_excludes_too(values, column):
    assert [problem.column for problem in check_parameters("idenfy-kyc", values, "openapi")] == [f"idenfy-kyc.{column}"]


def test_a_country_is_one_that_there_is():
    cases = [("NZL", True), ("XXX", False), ("NZ", False), ("nzl", False)]
    assert [
        (country, provider, got)
        for country, good in cases
        for provider in ("frankieone-v1", "frankieone-v2")
        if (got := check_parameters(provider, {"country": country}) == []) is not good
    ] == []


@pytest.mark.parametrize(
    ("provider", "values", "column"),
    [
        ("idenfy-kyb", {"lifetime": 59}, "lifetime"),
        ("idenfy-kyb", {"flow": UUID, "questionnaire": "q"}, "questionnaire"),
        ("idenfy-kyc", {"allowedDocuments": ["LIBRARY_CARD"]}, "allowedDocuments"),
        ("frankieone-v1", {"documentType": "LICENCE"}, "documentType"),
    ],
)
def test_what_is_probably_not_meant_is_warned_of_and_sent(provider, values, column):
    assert check_parameters(provider, values) == []
    assert [warning.column for warning in parameter_warnings(provider, values)] == [f"{provider}.{column}"]


def test_each_form_has_its_own_table():
    assert "client" not in parameters_of("idenfy-kyc")
    assert "firstName" not in parameters_of("idenfy-kyc", "openapi")
    assert parameters_of("idenfy") == {}
