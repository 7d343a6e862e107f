import unicodedata
from datetime import date, datetime

import pytest

from onboarding_worker.core.model.customers import Channel, Customer, CustomerKind, Person
from onboarding_worker.lists.accept import accept
from onboarding_worker.lists.lines import AcceptedLine, RefusedLine
from onboarding_worker.lists.options import ListOptions
from onboarding_worker.templates.no_values import SHEET_ERRORS
from tests.suite.cases import differing

TODAY = date(2026, 11, 20)


def test_a_full_line_becomes_a_customer():
    cells = {
        "customer_id": " C-1 ",
        "kind": "Company",
        "purpose": "Renewal",
        "email": "Zoë.Muster@Example.COM",
        "phone": "030 123456",
        "first_name": "Zoe\u0308",
        "last_name": "O'Neil",
        "company_name": "Muster GmbH & Co.",
        "date_of_birth": "1990-12-31",
        "sex": "female",
        "nationality": "lt",
        "address": "Weg 1\r\n 10115 Berlin",
        "consent": "Yes",
        "country": "deu",
        "locale": "de_at",
        "timezone": "europe/berlin",
        "channel": "BOTH",
        "account": "kyc-eu",
        "entity_id": "e-1",
        "external_ref": "ref 1",
        "tags": "a; b ;;a",
        "template": "Winter_1",
    }
    line = accept(7, cells, ListOptions(today=TODAY))
    assert line == AcceptedLine(
        7,
        Customer(
            customer_id="C-1",
            kind=CustomerKind.COMPANY,
            purpose="renewal",
            person=Person(
                email="Zoë.Muster@example.com",
                phone="+4930123456",
                first_name="Zoë",
                last_name="O'Neil",
                company_name="Muster GmbH & Co.",
                date_of_birth=date(1990, 12, 31),
                sex="F",
                nationality="LT",
                address="Weg 1, 10115 Berlin",
            ),
            country="DE",
            locale="de-AT",
            timezone="Europe/Berlin",
            channel=Channel.BOTH,
            account="kyc-eu",
            entity_id="e-1",
            external_ref="ref 1",
            tags=("a", "b"),
            template="Winter_1",
            consent=True,
        ),
    )


def test_all_problems_of_a_line_are_reported_at_once(problems):
    found = problems(
        customer_id="x" * 101,
        kind="person",
        email="nobody",
        phone="12",
        date_of_birth="1990-02-30",
        country="Q1",
        channel="fax",
        consent="maybe",
    )
    # The phone is national: its country is wrong, and no country has such short numbers.
    wrong = {"customer_id", "kind", "email", "phone", "date_of_birth", "country", "channel", "consent"}
    assert set(found) == wrong


def test_a_rejected_line_keeps_its_id_only_where_that_is_valid():
    options = ListOptions(today=TODAY)
    known = accept(2, {"customer_id": "A1", "email": "nobody"}, options)
    unknown = accept(3, {"customer_id": "anna@example.com", "email": "nobody"}, options)
    assert isinstance(known, RefusedLine)
    assert isinstance(unknown, RefusedLine)
    assert (known.customer_id, unknown.customer_id) == ("A1", "")


def test_a_wrong_cell_is_named_by_its_shape_and_never_repeated(problems, subtests):
    cases = [
        ("kind", "person", "neither individual nor company"),
        ("purpose", "Re-check 2!", "not a short name"),
        ("purpose", "p" * 65, "not a short name"),
        ("email", "nobody.example.com", "18 characters without an @"),
        ("email", "a@example.com, b@example.com", "more than one email address"),
        ("email", "Anna <a@example.com>", "20 characters that are not an email address"),
        ("email", "a@b", "3 characters that are not an email address"),
        ("email", "a@test", "an address whose domain has no dot"),
        ("email", "a..b@example.com", "16 characters that are not an email address"),
        ("phone", "0171 3920012", "a national number without a country"),
        ("phone", "0049 171 3920012", "a number that starts with 00"),
        ("phone", "+999 1234567", "a number with a country code that does not exist"),
        ("phone", "+1 202 555", "too few digits for its country"),
        ("phone", "+1 202 555 01001 1", "too many digits for its country"),
        ("phone", "call Anna", "9 characters, and not all of them belong to a phone number"),
        ("phone", "+1 800 FLOWERS", "14 characters, and not all of them belong to a phone number"),
        ("first_name", "n" * 101, "101 characters, more than 100"),
        ("first_name", "An\u202ena", "it contains an invisible character: U+202E RIGHT-TO-LEFT OVERRIDE"),
        ("first_name", "An\x00na", "it contains an invisible character: U+0000"),
        ("first_name", "Ann" + "\u0310" * 7, "it has a letter with more than 6 marks"),
        ("last_name", "\u0e2a" + "\u0e47" * 20, "it has a letter with more than 6 marks"),
        ("company_name", "Anna" + "\u0336\u200d" * 7, "it has a letter with more than 6 marks"),
        ("last_name", "a\nb\nc", "it has 3 lines"),
        ("company_name", "\ue000 GmbH", "it contains an invisible character: U+E000"),
        ("address", "a" * 501, "501 characters, more than 500"),
        ("date_of_birth", "31.12.1990", "10 characters that are not YYYY-MM-DD"),
        ("date_of_birth", "19901231", "8 characters that are not YYYY-MM-DD"),
        ("date_of_birth", "1990-W01-1", "10 characters that are not YYYY-MM-DD"),
        ("date_of_birth", "1990-02-30", "a date that does not exist"),
        ("date_of_birth", "2026-11-21", "a date in the future"),
        ("date_of_birth", "1890-01-01", "a date more than 130 years ago"),
        ("sex", "Z", "none of M, F and X"),
        ("nationality", "Lithuanian", "10 characters that are not a country"),
        ("country", "UK", "not an ISO 3166 code"),
        ("country", "XX", "2 characters that are not a country"),
        ("channel", "fax", "none of email, sms, whatsapp, both, none"),
        ("consent", "maybe", "neither true nor false"),
        ("account", "kyc eu", "not a short name"),
        ("entity_id", "e" * 101, "101 characters, more than 100"),
        ("entity_id", "é", "characters that are not printable ASCII"),
        ("external_ref", "r" * 41, "41 characters, more than 40"),
        ("tags", "a;b;c;d;e;f", "6 tags, more than 5"),
        ("tags", "a,b", "a comma in a tag"),
        ("tags", "t" * 33, "a tag of 33 characters, more than 32"),
        ("template", "../secrets", "not a short name"),
        ("address", "x" * 20_001, "20,001 characters, more than 20,000"),
    ]
    for column, cell, problem in cases:
        with subtests.test(column=column, cell=cell, problem=problem):
            found = problems(**{column: cell})
            assert found == {column: problem}
            # Two letters also occur in words; longer values must not occur in the problem.
            assert len(cell) < 4 or cell not in str(found)


@pytest.mark.parametrize(
    "name",
    [
        "Nguy\u1ec5n",
        "\u05e9\u05b6\u05bc\u05bc\u05c1\u0591",
        "\u0f67\u0fb2\u0fb1\u0f71\u0f74\u0f83",
        "\u0e01\u0e38\u0e4a" * 30,
    ],
    ids=["Vietnamese", "Hebrew with its points", "a stack of Tibetan", "Thai"],
)
def test_a_letter_may_have_the_marks_of_its_language(customer, name):
    assert customer(first_name=name)


def test_a_cell_is_kept_in_one_form(customer):
    cases = [
        ("country", "aus", "AU"),
        ("country", "nz", "NZ"),
        ("country", "Deutschland", "DE"),
        ("locale", "DE", "de"),
        ("locale", "zh-hant-tw", "zh-Hant-TW"),
        ("locale", "es-419", "es-419"),
        ("timezone", "America/New York", "America/New_York"),
        ("consent", "0", False),
        ("consent", "", None),
        ("tags", "", ()),
        ("tags", ["web", "spring"], ("web", "spring")),
        ("external_ref", 4711.0, "4711"),
        ("consent", True, True),
        ("account", None, ""),
    ]
    assert differing(cases, lambda column, cell: getattr(customer(**{column: cell}), column)) == []


@pytest.mark.parametrize(
    ("column", "cell", "problem"),
    [
        ("locale", "Teutonic", "8 characters that are not a locale"),
        ("locale", ["de"], "a list"),
        ("timezone", "PST", "3 characters that are not a time zone"),
        ("timezone", "GMT+2", "5 characters that are not a time zone"),
    ],
)
def test_a_language_or_time_zone_that_is_none_is_left_out_and_refuses_no_line(column, cell, problem):
    cells = {"customer_id": "A1", "email": "a@example.com", column: cell}
    line = accept(2, cells, ListOptions(today=TODAY))
    assert isinstance(line, AcceptedLine)
    assert [(one.column, one.problem) for one in line.if_used] == [(column, problem)]
    assert getattr(line.customer, column) == ""


@pytest.mark.parametrize("error", sorted(SHEET_ERRORS))
def test_the_error_of_a_spreadsheet_rejects_its_row_in_each_column_and_format(problems, error):
    texts = ("customer_id", "phone", "first_name", "address", "tags", "external_ref", "country", "idenfy-kyc.theme")
    cells = {**dict.fromkeys(texts, f" {error} "), "last_name": "#####"}
    found = problems(**cells)
    assert found == {
        **dict.fromkeys(texts, f"the spreadsheet's error {error}"),
        "last_name": "nothing but #: in the spreadsheet the column was too narrow for its values",
    }
    for tags in (["vip", error], f"vip; {error}"):
        assert problems(tags=tags) == {"tags": f"the spreadsheet's error {error}"}


def test_a_number_sign_beside_other_signs_is_read(customer):
    found = customer(first_name="Ann #2", address="#12 High Street", tags=["#vip", "#1"])
    assert (found.person.first_name, found.person.address, found.tags) == ("Ann #2", "#12 High Street", ("#vip", "#1"))


def test_a_word_of_another_system_is_read_as_ours_and_others_as_they_are():
    values = {"country": {"teutonia": "DE"}, "sex": {"w": "F"}, "consent": {"ja": "true"}}
    options = ListOptions(today=TODAY, values=values)
    cells = {"customer_id": "A1", "email": "a@example.com", "country": " Teutonia ", "sex": "W", "consent": "JA"}
    known = accept(2, cells, options).customer
    assert (known.country, known.person.sex, known.consent) == ("DE", "F", True)
    assert accept(2, cells | {"country": "LT", "sex": "m"}, options).customer.country == "LT"


def test_a_language_that_is_none_gives_way_to_the_lists_own():
    cells = {"customer_id": "A1", "email": "a@example.com", "locale": "Teutonic", "timezone": "PST"}
    line = accept(2, cells, ListOptions(today=TODAY, defaults={"locale": "de"}))
    assert (line.customer.locale, line.customer.timezone) == ("de", "")


def test_a_personal_cell_is_kept_in_one_form(customer):
    cases = [
        ("first_name", "  Ana\xa0María ", "Ana María"),
        ("first_name", "क्‍ष", "क्‍ष"),  # joiners belong to the script
        ("email", "anna@mail.example", "anna@mail.example"),
        ("email", "anna@bank.test", "anna@bank.test"),
        ("email", "anna@BÜCHER.example.com", "anna@xn--bcher-kva.example.com"),
        ("phone", "+44 (0)7700 900123", "+447700900123"),
        ("date_of_birth", "2026-11-20", date(2026, 11, 20)),
        ("date_of_birth", datetime(1990, 5, 4), date(1990, 5, 4)),  # noqa: DTZ001 - as a workbook's cell comes
        ("sex", "m", "M"),
        ("sex", "diverse", "X"),
    ]
    assert differing(cases, lambda column, cell: getattr(customer(**{column: cell}).person, column)) == []


def test_a_line_without_a_channel_uses_what_it_has_email_first(customer):
    cases = [
        ({"email": "a@example.com", "phone": "+37060000000"}, Channel.EMAIL),
        ({"email": "a@example.com"}, Channel.EMAIL),
        ({"phone": "+37060000000"}, Channel.SMS),
        ({"email": "a@example.com", "phone": "+37060000000", "channel": "both"}, Channel.BOTH),
        ({"channel": "none"}, Channel.NONE),
        ({"email": "a@example.com", "channel": "none"}, Channel.NONE),
    ]
    assert differing(cases, lambda cells: customer(**({"channel": ""} | cells)).channel) == []


@pytest.mark.parametrize(
    ("cells", "problem"),
    [
        ({}, "neither an email address nor a phone number"),
        ({"channel": "email", "phone": "+37060000000"}, "it needs an email address, but email is empty"),
        ({"channel": "both", "email": "a@example.com"}, "it needs a phone number, but phone is empty"),
    ],
)
def test_a_line_that_cannot_be_invited_as_it_asks_is_rejected(problems, cells, problem):
    assert problems(**({"channel": ""} | cells)) == {"channel": problem}


def test_a_contact_that_is_wrong_is_not_called_missing_too(problems):
    assert set(problems(channel="both", email="nobody", phone="+1")) == {"email", "phone"}


def test_a_column_that_is_none_of_ours_is_a_problem_of_an_event(problems):
    assert problems(favourite_colour="blue") == {"favourite_colour": "an unknown column"}


def test_a_value_that_is_no_text_is_named_by_its_type(problems):
    assert problems(first_name={"a": 1}) == {"first_name": "an object"}


def test_a_long_text_is_refused_before_it_is_normalised(monkeypatch):
    # Normalising thousands of accents takes most of a second, and a web process has one loop.
    normalised = []
    real = unicodedata.normalize
    monkeypatch.setattr(unicodedata, "normalize", lambda form, text: normalised.append(len(text)) or real(form, text))
    marks = "a" + "\u0301\u0316" * 9_000
    cells = {"customer_id": "A1", "channel": "none", "first_name": marks, "address": marks, "sex": marks, "tags": marks}

    line = accept(2, cells, ListOptions(today=TODAY))

    assert isinstance(line, RefusedLine)
    assert {problem.column for problem in line.problems} == {"first_name", "address", "sex", "tags"}
    assert {"18,001 characters, more than 100"} <= {problem.problem for problem in line.problems}
    assert not normalised


@pytest.mark.parametrize("name", ["각" * 100, "ệ" * 100])
def test_a_name_of_the_greatest_length_may_come_decomposed(name):
    cells = {"customer_id": "A1", "channel": "none", "first_name": unicodedata.normalize("NFD", name)}

    line = accept(2, cells, ListOptions(today=TODAY))

    assert isinstance(line, AcceptedLine)
    assert line.customer.person.first_name == name
