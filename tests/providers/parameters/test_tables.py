import pytest

from onboarding_worker.providers import parameters
from onboarding_worker.providers.parameters import (
    MOST_NEAREST,
    check_parameters,
    parameter_warnings,
    parse_cell,
    unknown_parameter,
)
from tests.providers.parameters.reference import parameters_of

# One valid cell for each parameter, and its value.
CELLS = {
    "firstName": ("John Tom", "John Tom"),
    "lastName": ("O'Neill-Ní", "O'Neill-Ní"),
    "dateOfBirth": ("1990-12-20", "1990-12-20"),
    "sex": ("M", "M"),
    "nationality": ("lt", "lt"),
    "address": ("Address", "Address"),
    "externalRef": ("reference", "reference"),
    "country": ("IE;GB", ["IE", "GB"]),
    "documents": ("PASSPORT; DRIVER_LICENSE", ["PASSPORT", "DRIVER_LICENSE"]),
    "documentNumber": ("123456", "123456"),
    "personalNumber": ("007", "007"),
    "dateOfExpiry": ("2031-05-30", "2031-05-30"),
    "dateOfIssue": ("2021-05-30", "2021-05-30"),
    "successUrl": ("https://www.my-company.com/ok?a=b", "https://www.my-company.com/ok?a=b"),
    "errorUrl": ("https://a.b", "https://a.b"),
    "unverifiedUrl": ("https://a.b", "https://a.b"),
    "callbackUrl": ("https://a.b", "https://a.b"),
    "locale": ("lt", "lt"),
    "expiryTime": ("600", 600),
    "sessionLength": ("600.0", 600),
    "tokenType": ("DOCUMENT", "DOCUMENT"),
    "ageLimit": ("18", 18),
    "ageMax": ("99", 99),
    "registryCentersCountries": ("LT;LV", ["LT", "LV"]),
    "additionalSteps": ('{"ALL": {"ALL": {"STEP": {}}}}', {"ALL": {"ALL": {"STEP": {}}}}),
    "additionalData": ('{"utility": {"town": "Kaunas"}}', {"utility": {"town": "Kaunas"}}),
    "questionnaire": ("c8QgVx5xzspjVnQ4nJ7MCf", "c8QgVx5xzspjVnQ4nJ7MCf"),
    "riskAssessmentProfile": ("7", 7),
}
SWITCHES = """showInstructions generateDigitString reviewFailed reviewSuccessful verifyEmail verifyPhone verifyAddress
    verifyBank verifyBankAccounts verifyBankBalances verifyBankTransactions nfcRequired nfcOptional driverLicenseBack
    checkDriverLicense idLiveFaceValidation idLiveDocumentValidation checkLiveness autoFaceMatching checkBlurAndGlare
    checkAml checkIpProxy checkFaceBlacklist checkDocFaceBlacklist checkDuplicateFaces checkDuplicateDocFaces
    checkDuplicatePersonalData utilityBill questionnaireRequired"""
CELLS |= {name: ("TRUE", True) for name in SWITCHES.split()}
UUID = "3c90c3cc-0d44-4b50-8888-8dd25736052a"
# Of the other endpoints, and of iDenfy's other form.
OTHERS = [
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
    ("frankieone-v2", "country", "AUS", "AUS"),
    ("frankieone-v2", "products", "idv;selfie", ["idv", "selfie"]),
    ("frankieone-v2", "products", "idv", ["idv"]),
    ("frankieone-v2", "relayState", "s;1", "s;1"),
    ("frankieone-v2", "vendorParameters", '{"a": {"b": 1}}', {"a": {"b": 1}}),
]


def test_every_one_of_the_58_parameters_is_known():
    assert len(parameters_of("idenfy-kyc")) == 58
    assert set(CELLS) == set(parameters_of("idenfy-kyc")) - {"clientId"}


def test_a_cell_becomes_the_value_that_the_provider_wants(subtests):
    narrative = (("idenfy-kyc", name, *cell, "narrative") for name, cell in CELLS.items())
    for provider, name, cell, value, dialect in [*narrative, *((*one, "openapi") for one in OTHERS)]:
        with subtests.test(provider=provider, name=name, cell=cell):
            assert unknown_parameter(provider, name) is None
            assert parse_cell(provider, name, cell) == (value, None)
            assert check_parameters(provider, {name: value}, dialect) == []


BAD = {
    "firstName": ["J0hn", "x" * 101, "a@b", "a|b", "a<b", "a\\b", 'a"b', "a/b", "a;b", "--", "A\tB"],
    "lastName": ["Smith2"],
    "dateOfBirth": ["20.12.1990", "1990-13-01", "1990-02-30", "19901220", "1990-12-20T00:00"],
    "sex": ["m", "X"],
    "nationality": ["LTU", "l", "00"],
    "address": ["a\nb"],
    "externalRef": ["a" * 41],
    "country": ["LTU", "IE;GBR"],
    "documentNumber": ["1" * 51, "№1"],
    "personalNumber": ["1" * 51],
    "successUrl": ["http://a.b", "a.b", "https://", "https://a b", "https://" + "a" * 2048, "https://a:b:c"],
    "callbackUrl": ["ftp://a.b"],
    "locale": ["lithuanian"],
    "expiryTime": ["0", "2592001", "1 day", "1.5", "true", "-1"],
    "sessionLength": ["59", "3601"],
    "tokenType": ["identification", "OTHER"],
    "showInstructions": ["yes", "1", "null", "Truee"],
    "ageLimit": ["0", "-18"],
    "additionalSteps": ["[1]", "{", "true", "{'a': 1}", '{"a": NaN}', '{"a": 1e400}', '{"a": 1, "a": 2}'],
    "additionalData": ['{"a": "b"}', '{"a": {"b": 5}}'],
}


def test_a_cell_out_of_bounds_is_refused_without_being_shown(subtests):
    for name, cell in [(name, cell) for name, cells in BAD.items() for cell in cells]:
        with subtests.test(name=name, cell=cell):
            value, problem = parse_cell("idenfy-kyc", name, cell)

            assert value is None
            assert problem
            assert problem.startswith(("must ", "cannot "))
            assert len(cell) < 4 or cell not in problem


def test_a_cell_of_another_table_out_of_bounds_is_refused(subtests):
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
        ("frankieone-v2", "country", "AU"),
        ("frankieone-v2", "country", "aus"),
        ("frankieone-v2", "vendorParameters", "x"),
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


@pytest.mark.parametrize(("name", "value"), [("address", "a" * 256), ("externalRef", "é")])
def test_a_value_of_one_form_is_read_from_a_list_and_checked_by_the_accounts_form(name, value):
    assert parse_cell("idenfy-kyc", name, value) == (value, None)
    assert check_parameters("idenfy-kyc", {name: value}, "openapi") == []
    assert check_parameters("idenfy-kyc", {name: value}, "narrative")


@pytest.mark.parametrize("name", ["questionnaire", "additionalSteps", "additionalData"])
def test_null_is_accepted_where_it_has_a_meaning(name):
    assert parse_cell("idenfy-kyc", name, "null") == (None, None)
    assert check_parameters("idenfy-kyc", {name: None}) == []


def test_null_elsewhere_is_refused():
    assert check_parameters("idenfy-kyc", {"expiryTime": None})[0].problem == "must not be null"


def test_a_country_alone_stays_a_text_and_several_are_a_list():
    assert parse_cell("idenfy-kyc", "country", "ALL") == ("ALL", None)
    assert parse_cell("idenfy-kyc", "country", '["IE"]') == (["IE"], None)


def test_a_risk_profile_is_a_number_or_a_uuid_as_the_page_has_both():
    uuid = "e8cadb52-d429-4dc2-b788-99dfbbe8a4ab"

    assert parse_cell("idenfy-kyc", "riskAssessmentProfile", uuid) == (uuid, None)


def test_a_value_that_is_no_text_has_its_type_already():
    cases = [
        ("expiryTime", 600),
        ("expiryTime", 600.0),
        ("checkAml", True),
        ("country", ["IE"]),
        ("additionalData", {"a": {}}),
    ]
    assert [
        (name, value, got) for name, value in cases if (got := parse_cell("idenfy-kyc", name, value)) != (value, None)
    ] == []


def test_a_text_that_a_program_wrote_as_a_float_is_refused_with_its_digits():
    names = ("idenfy-kyc.externalRef", "idenfy-kyb.externalRef", "frankieone-v1.applicationId")
    cells = [(name, cell) for name in names for cell in ("1001.0", "1001,00")]
    cells += [("idenfy-kyc.documents", "PASSPORT;1001.0"), ("idenfy-kyc.documents", ["PASSPORT", "1001.0"])]
    assert [
        (name, cell, problem)
        for name, cell in cells
        if "write the digits alone: 1001" not in (problem := parse_cell(*name.split("."), cell)[1] or "")
    ] == []
    assert "digits are lost" in (parse_cell("idenfy-kyc", "externalRef", "4.4791E+11")[1] or "")
    assert parse_cell("idenfy-kyc", "externalRef", "10.1.0") == ("10.1.0", None)


def test_a_value_of_another_type_is_refused():
    cases = [("expiryTime", True), ("checkAml", 1), ("firstName", 5), ("country", [5]), ("sessionLength", 90.5)]
    assert [name for name, value in cases if not parse_cell("idenfy-kyc", name, value)[1]] == []


def test_an_empty_cell_is_the_callers_to_leave_out():
    assert parse_cell("idenfy-kyc", "firstName", "  ")[1] == "is empty; leave the cell out"


def test_a_name_with_zero_width_joiners_is_a_name():
    assert parse_cell("idenfy-kyc", "lastName", "می\u200cرزا")[1] is None


def test_an_unknown_parameter_names_the_nearest():
    cases = [
        ("idenfy-kyc", "sesionLength", "sessionLength"),
        ("idenfy-kyc", "FIRSTNAME", "firstName"),
        ("idenfy-kyc", "expirytime", "expiryTime"),
        ("idenfy-kyc", "client.nme", "client.name"),
        ("idenfy-kyc", "surename", "client.surname"),
        ("idenfy-kyc", "webhookUrl", "urls.webhookUrl"),
        ("idenfy-kyb", "questionaire", "questionnaire"),
        ("idenfy-kyb", "Tags", "tags"),
        ("frankieone-v1", "entity.givenName", "entity.name.givenName"),
        ("frankieone-v1", "entity.name.givenname", "entity.name.givenName"),
        ("frankieone-v1", "dateOfBirth", "entity.dateOfBirth"),
        ("frankieone-v2", "document_type", "documentType"),
    ]
    for provider, name, near in cases:
        assert unknown_parameter(provider, name) == f"{provider} has no such parameter; the nearest is {near}"


@pytest.mark.parametrize(
    ("provider", "name", "problems", "most"),
    [
        ("idenfy-kyc", "additionalSteps", 0, 0),  # of the other form each field would be unknown
        ("frankieone-v1", "entity.dateOfBirth", 500, MOST_NEAREST),
    ],
)
def test_the_nearest_is_looked_for_with_few_of_many_fields(monkeypatch, provider, name, problems, most):
    looked_for = []
    nearest = parameters.nearest
    monkeypatch.setattr(parameters, "nearest", lambda tables, name: looked_for.append(name) or nearest(tables, name))
    fields = {f"documnt{number}": {"a": "b"} for number in range(500)}
    assert len(check_parameters(provider, {name: {"ALL": fields} if most == 0 else fields})) == problems
    assert len(looked_for) <= most


def test_a_parameter_like_none_names_none():
    assert unknown_parameter("idenfy-kyc", "zzz") == "idenfy-kyc has no such parameter"


@pytest.mark.parametrize(
    ("provider", "name", "instead"),
    [
        ("idenfy-kyc", "clientId", "customer_id"),
        ("idenfy-kyb", "clientId", "customer_id"),
        ("idenfy-kyb", "tokenType", "always FORM"),
        ("frankieone-v1", "entity.entityId", "entity_id"),
        ("frankieone-v1", "consent", "the column consent"),
        ("frankieone-v2", "entityId", "entity_id"),
    ],
)
def test_what_is_filled_otherwise_cannot_be_given(provider, name, instead):
    assert instead in unknown_parameter(provider, name)
    assert instead in check_parameters(provider, {name: True})[0].problem


def test_a_provider_that_there_is_not_names_those_there_are():
    assert "frankieone-v2" in unknown_parameter("idenfy", "locale")


def test_nested_names_reach_into_objects():
    assert parse_cell("idenfy-kyc", "additionalData.utility.town", "5") == ("5", None)
    assert parse_cell("frankieone-v2", "comment.entityType", "UNKNOWN") == ("UNKNOWN", None)
    assert parse_cell("frankieone-v2", "vendorParameters.locale", "de") == ("de", None)
    assert check_parameters("idenfy-kyc", {"additionalData.utility.town": "5"}) == []


def test_a_nested_name_that_leads_nowhere_is_refused():
    cases = [
        ("idenfy-kyc", "firstName.x"),
        ("idenfy-kyc", "additionalData."),
        ("frankieone-v2", "comment.commentId"),
        ("frankieone-v2", "comment.other"),
        ("frankieone-v2", "comment.text.x"),
    ]
    assert [(provider, name) for provider, name in cases if not unknown_parameter(provider, name)] == []


def test_a_nested_value_is_held_to_its_own_bounds():
    assert parse_cell("frankieone-v2", "comment.entityType", "PERSON")[1].startswith("must be one of")
    assert parse_cell("idenfy-kyc", "additionalData.utility", "text")[1]


def test_parameters_that_exclude_each_other_are_refused():
    cases = [
        ({"verifyBankAccounts": True, "verifyBank": False}, "verifyBankAccounts"),
        ({"verifyBankBalances": True, "verifyBank": False}, "verifyBankBalances"),
        ({"verifyBankTransactions": True, "verifyBank": False}, "verifyBankTransactions"),
        ({"autoFaceMatching": False, "checkLiveness": True}, "checkLiveness"),
        ({"autoFaceMatching": False, "checkFaceBlacklist": True}, "checkFaceBlacklist"),
        ({"autoFaceMatching": False, "checkDocFaceBlacklist": True}, "checkDocFaceBlacklist"),
        ({"autoFaceMatching": False, "checkDuplicateFaces": True}, "checkDuplicateFaces"),
        ({"autoFaceMatching": False, "checkDuplicateDocFaces": True}, "checkDuplicateDocFaces"),
        ({"nfcRequired": True, "nfcOptional": True}, "nfcOptional"),
        ({"generateDigitString": True, "expiryTime": 86401}, "expiryTime"),
        ({"ageLimit": 60, "ageMax": 18}, "ageMax"),
    ]
    nested = [
        ({"settings": {"verifyBank": False, "verifyBankAccounts": True}}, "settings.verifyBankAccounts"),
        ({"settings.verifyBank": False, "settings.verifyBankBalances": True}, "settings.verifyBankBalances"),
        ({"generateDigitString": True, "lifetime": 86401}, "lifetime"),
    ]
    for dialect, excluded in (("", cases), ("openapi", nested)):
        for values, column in excluded:
            found = [problem.column for problem in check_parameters("idenfy-kyc", values, dialect)]
            assert found == [f"idenfy-kyc.{column}"], values


def test_parameters_that_go_together_are_accepted():
    cases = [
        {"verifyBankAccounts": True},  # the account's own setting may be true
        {"verifyBankAccounts": True, "verifyBank": True},
        {"verifyBankAccounts": False, "verifyBank": False},
        {"autoFaceMatching": False, "checkLiveness": False, "checkDuplicatePersonalData": True},
        {"nfcRequired": False, "nfcOptional": True},
        {"generateDigitString": True, "expiryTime": 86400},
        {"generateDigitString": False, "expiryTime": 86401},
        {"ageLimit": 18, "ageMax": 18},
    ]
    assert [(values, got) for values in cases if (got := check_parameters("idenfy-kyc", values)) != []] == []


@pytest.mark.parametrize(
    ("provider", "values", "column"),
    [
        ("idenfy-kyc", {"expiryTime": 59}, "expiryTime"),
        ("idenfy-kyc", {"documents": ["PASSPORT", "LIBRARY_CARD"]}, "documents"),
        ("idenfy-kyc", {"additionalData": {"utility": {"town": "x"}}}, "additionalData"),
        ("idenfy-kyc", {"verifyBankAccounts": True}, "verifyBankAccounts"),
        ("idenfy-kyc", {"allowedDocuments": ["LIBRARY_CARD"]}, "allowedDocuments"),
        ("idenfy-kyb", {"lifetime": 59}, "lifetime"),
        ("idenfy-kyb", {"flow": UUID, "questionnaire": "q"}, "questionnaire"),
        ("frankieone-v1", {"documentType": "LICENCE"}, "documentType"),
    ],
)
def test_what_is_probably_not_meant_is_warned_of_and_sent(provider, values, column):
    assert check_parameters(provider, values) == []
    assert [warning.column for warning in parameter_warnings(provider, values)] == [f"{provider}.{column}"]


def test_what_is_meant_is_not_warned_of():
    values = {
        "verifyBank": True,
        "verifyBankAccounts": True,
        "expiryTime": 60,
        "documents": ["PASSPORT"],
        "additionalData": {"a": {}},
        "additionalSteps": {"ALL": {}},
    }

    assert parameter_warnings("idenfy-kyc", values) == []


@pytest.mark.parametrize("spelling", ["DRIVERS_LICENCE", "DRIVER_LICENCE", "DRIVERS_LICENSE"])
def test_frankieones_three_spellings_of_a_licence_pass_and_another_is_warned_of(spelling):
    assert check_parameters("frankieone-v2", {"documentType": spelling}) == []
    assert parameter_warnings("frankieone-v2", {"documentType": spelling}) == []
    assert parameter_warnings("frankieone-v2", {"documentType": "LICENCE"})


def test_a_comment_holds_nothing_but_its_documented_fields():
    assert check_parameters("frankieone-v2", {"comment": {"text": "x", "entityType": "UNKNOWN"}}) == []
    assert check_parameters("frankieone-v2", {"comment": {"note": "x"}})
    assert check_parameters("frankieone-v2", {"comment": {"entityType": "PERSON"}})
