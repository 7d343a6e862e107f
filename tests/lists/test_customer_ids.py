import re
from datetime import date

from onboarding_worker.lists.options import ListOptions

HASHED = ListOptions(today=date(2026, 11, 20), hash_ids=True)


def test_an_id_of_ones_own_is_accepted(customer):
    cases = ["A1", "10000234", "0000123456", "user#7 (old)", "#7", "12E5", "null-1", "2024-1234-5678", "c+1", "@7"]
    assert [(own, got) for own in cases if (got := customer(customer_id=own).customer_id) != own] == []


def test_an_id_that_could_be_personal_is_refused(problems):
    cases = [
        ({"customer_id": ""}, "it is empty"),
        ({"customer_id": "Zoë"}, "characters that are not printable ASCII"),
        ({"customer_id": "a\tb"}, "characters that are not printable ASCII, such as U+0009"),
        ({"customer_id": "x" * 101}, "101 characters, more than 100"),
        ({"customer_id": "anna@example.com"}, "it looks like an email address"),
        ({"customer_id": "id anna@example.com"}, "it looks like an email address"),
        ({"customer_id": "+370 600 00000"}, "it looks like a phone number"),
        ({"customer_id": "(202) 555-0100"}, "it looks like a phone number"),
        ({"customer_id": "37060000000", "phone": "+37060000000"}, "it looks like a phone number"),
        ({"customer_id": "0171 3920012", "phone": "0171/3920012", "country": "DE"}, "it looks like a phone number"),
        ({"customer_id": "020 7946 0018", "country": "GB"}, "it looks like a phone number"),
    ]
    assert [(cells, got) for cells, problem in cases if (got := problems(**cells)) != {"customer_id": problem}] == []


def test_a_missing_id_is_refused(problems):
    assert problems(customer_id=None) == {"customer_id": "it is empty"}


def test_what_stands_for_a_missing_or_lost_id_is_no_id(problems):
    """Else all customers with it are one, and all but the first are left out as duplicates."""
    cases = {
        "a word or a sign for no value": ["N/A", "na", "NaN", "None", "NULL", "undefined", "#N/A", "-", "+", "(none)"],
        "the spreadsheet's error #DIV/0!": ["#DIV/0!"],
        "nothing but #: in the spreadsheet the column was too narrow for its values": ["##", "########"],
        "a number that a spreadsheet has shortened, such as 4.4791E+11: digits are lost": ["1E+05", "1,2E+5", "1.2e5"],
    }
    for problem, ids in cases.items():
        for options in (None, HASHED):
            given = [options] if options else []
            assert {own: problems(*given, customer_id=own) for own in ids} == {
                own: {"customer_id": problem} for own in ids
            }


def test_hashed_ids_are_stable_and_hide_what_they_are_made_of(customer):
    first = customer(HASHED, customer_id="Anna@example.com").customer_id
    assert re.fullmatch("h-[0-9a-f]{32}", first)
    assert customer(HASHED, customer_id="anna@EXAMPLE.com").customer_id == first
    assert customer(HASHED, customer_id="anna@example.org").customer_id != first
    assert customer(HASHED, customer_id="A1").customer_id != customer(HASHED, customer_id="a1").customer_id


def test_a_hashed_id_depends_on_no_other_column(customer):
    alone = customer(HASHED, customer_id="37060000000").customer_id
    assert customer(HASHED, customer_id="37060000000", phone="+37060000000").customer_id == alone
