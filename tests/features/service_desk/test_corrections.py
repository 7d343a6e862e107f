"""What a row of a report that comes back has changed about a customer."""

from dataclasses import replace
from datetime import date
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.core.foundation.notation import spreadsheet_safe, unguarded
from onboarding_worker.core.model.customers import UPDATABLE, Details, Person
from onboarding_worker.features.service_desk.corrections import Correction, correction_of
from onboarding_worker.lists.dates import DateForm

TODAY = date(2026, 11, 20)
STORED = Details(
    Person(
        email="ona@example.com",
        phone="+37060000001",
        first_name="Ona",
        last_name="Petrauskaitė",
        date_of_birth=date(1990, 12, 31),
        nationality="LT",
    ),
    country="LT",
    locale="lt",
)


def changed(dates: str | None = None, **cells: object) -> dict[str, object]:
    form = DateForm.parse(dates) if dates else None
    correction, problems = correction_of(cells, STORED, today=TODAY, dates=form)
    assert not problems
    return dict(correction.values)


def refused(**cells: object) -> dict[str, str]:
    correction, problems = correction_of(cells, STORED, today=TODAY)
    assert not correction.columns
    return {problem.column: problem.problem for problem in problems}


def test_a_row_as_the_report_wrote_it_changes_nothing():
    assert changed(**{column: STORED.shown(column) for column in UPDATABLE}) == {}


def test_an_empty_cell_says_nothing():
    assert changed(**dict.fromkeys(UPDATABLE, "")) == {}
    assert changed(email=None, phone="   ") == {}


def test_another_spelling_of_what_is_stored_is_no_change():
    cases = [
        ("phone", "37060000001"),  # without its plus sign: a spreadsheet took it for a number
        ("phone", 37060000001.0),  # and a workbook keeps every number like this
        ("phone", "8 600 00001"),  # as its country writes it
        ("phone", "+370…01"),
        ("email", "o…@example.com"),
        ("email", "ona@EXAMPLE.com"),
        ("date_of_birth", "31.12.1990"),
        ("date_of_birth", "12/31/1990"),
        ("date_of_birth", "31/12/90"),
        ("date_of_birth", date(1990, 12, 31)),
        ("country", "LTU"),
        ("locale", "LT"),
        ("kind", "Individual"),
        ("first_name", " Ona "),
        ("last_name", "Petrauskait?"),  # saved in an encoding without this letter
    ]
    assert [(column, cell, got) for column, cell in cases if (got := changed(**{column: cell})) != {}] == []


def test_a_new_value_is_kept_in_the_form_that_a_list_has():
    cases = [
        ("email", "new@example.com", "new@example.com"),
        ("phone", "+37060000002", "+37060000002"),
        ("phone", "860000002", "+37060000002"),
        ("first_name", "Onutė", "Onutė"),
        ("date_of_birth", "1990-12-30", date(1990, 12, 30)),
        ("country", "LV", "LV"),
        ("timezone", "europe/vilnius", "Europe/Vilnius"),
    ]
    assert [
        (column, cell, value, got)
        for column, cell, value in cases
        if (got := changed(**{column: cell})) != {column: value}
    ] == []


def test_a_new_date_is_read_in_the_form_that_is_named_and_never_guessed():
    assert changed("DD.MM.YYYY", date_of_birth="30.12.1990") == {"date_of_birth": date(1990, 12, 30)}
    assert "not YYYY-MM-DD" in refused(date_of_birth="30.12.1990")["date_of_birth"]


def test_a_number_that_a_spreadsheet_has_shortened_is_refused():
    cases = ["4.4791E+11", "4,4791E+11", "3.706e10", "3,7E+10"]
    assert [
        (cell, got) for cell in cases if "a spreadsheet has shortened" not in (got := refused(phone=cell)["phone"])
    ] == []


def test_a_number_that_a_program_wrote_as_a_float_is_refused():
    assert set(refused(phone="37060000001.0")) == {"phone"}
    assert set(refused(phone=37060000001.5)) == {"phone"}


def test_a_name_that_is_none_is_refused_and_judged_beside_the_stored_one():
    assert set(refused(first_name="[First Name]", last_name="PetrauskaitÄ—")) == {"first_name", "last_name"}
    assert changed(last_name="Null") == {"last_name": "Null"}
    assert changed(first_name="NULL", last_name="NULL", phone="n/a", country="-", account="(none)", email="'-") == {}


def test_a_number_with_two_readings_is_refused():
    german = replace(STORED, country="DE")
    correction, problems = correction_of({"phone": "491721234567"}, german, today=TODAY)
    assert (dict(correction.values), [problem.column for problem in problems]) == ({}, ["phone"])


def test_a_mask_of_another_address_is_refused_and_never_stored():
    assert refused(email="x…@example.com") == {"email": "a masked address"}
    assert refused(phone="+371…22") == {"phone": "a masked number"}


def test_a_hostile_cell_raises_nothing_and_is_never_repeated(subtests):
    for cell, column in product(["\0", "a\ud800", "x" * 100_000, "\u202eevil", "=cmd|' /C calc'!A0"], UPDATABLE):
        with subtests.test(cell=cell, column=column):
            _, problems = correction_of({column: cell}, STORED, today=TODAY)
            assert cell not in str(problems)


def test_all_problems_of_a_row_are_named_at_once():
    assert refused(email="nobody", phone="12", country="Q1", channel="sms").keys() == {
        "email",
        "phone",
        "country",
        "channel",
    }


def test_what_is_changed_is_applied_and_the_rest_stays():
    correction, _ = correction_of({"email": "new@example.com", "country": "LV"}, STORED, today=TODAY)
    after = correction.applied(STORED)
    assert (after.person.email, after.country) == ("new@example.com", "LV")
    assert (after.person.phone, after.person.last_name) == (STORED.person.phone, STORED.person.last_name)
    assert correction.of(after).columns == ()
    assert "new@example.com" not in repr(correction) + repr(after)


def test_another_person_gets_nothing_of_the_first_but_what_the_row_says_of_name_place_and_language():
    person = replace(STORED.person, address="Gedimino pr. 1", sex="F", message={"branch": "Šiauliai", "floor": "3"})
    known = replace(STORED, person=person, timezone="Europe/Vilnius")
    cells = {column: known.shown(column) for column in UPDATABLE if column != "timezone"}
    cells |= {"message.branch": "Šiauliai", "message.floor": "4"}
    new = {"email": "jonas@example.com", "phone": "+37060000002", "first_name": "Jonas", "date_of_birth": "1991-01-02"}

    correction, problems = correction_of(cells | new, known, today=TODAY)
    after = correction.of(known).applied(known)

    assert problems == ()
    assert correction.is_of_another(known)
    birth = date(1991, 1, 2)
    others = {"last_name": STORED.person.last_name, "date_of_birth": birth, "message": {"floor": "4"}}
    assert after == Details(Person(**new | others), country="LT", locale="lt")


def test_a_column_for_messages_is_corrected_like_the_other_details():
    known = replace(STORED, person=replace(STORED.person, message={"branch": "Šiauliai", "floor": "3"}))
    cells = {"message.branch": "Kaunas", "message.floor": "", "message.adviser": "Rasa"}
    correction, problems = correction_of(cells, known, today=TODAY)
    assert (problems, correction.columns) == ((), ("message.adviser", "message.branch"))
    after = correction.applied(known)
    assert after.person.message == {"branch": "Kaunas", "floor": "3", "adviser": "Rasa"}
    assert after.person.email == known.person.email
    assert correction.of(after).columns == ()
    for same in ("Šiauliai", "?iauliai"):
        assert correction_of({"message.branch": same}, known, today=TODAY) == (Correction({}), ())


def test_an_email_address_of_our_own_corrects_a_column_for_messages():
    cells = {"message.adviser": "rasa@bank.example"}
    correction, problems = correction_of(cells, STORED, today=TODAY, mail_domains={"bank.example"})
    assert (problems, dict(correction.values)) == ((), cells)
    assert correction_of(cells, STORED, today=TODAY)[1]


@pytest.mark.parametrize("value", ["https://evil.example", "evil.example", "[Branch Name]", "x" * 201])
def test_a_value_that_no_list_may_have_for_messages_corrects_nothing(value: str):
    assert list(refused(**{"message.branch": value})) == ["message.branch"]


@given(st.text(max_size=40).filter(lambda text: "'" not in text))
def test_the_mark_against_formulas_is_taken_off_again(text: str):
    assert unguarded(spreadsheet_safe(text)) == text
