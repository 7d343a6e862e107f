"""The forms of dates: which are read, and what is said about a list's dates. None is guessed."""

from datetime import date

import pytest

from onboarding_worker.lists.dates import DateForm

DAY = date(1980, 3, 12)
HEAD = "customer_id,email,date_of_birth\n"


def rows(*dates: str) -> str:
    return HEAD + "".join(f"A-{n},box{n}@example.com,{day}\n" for n, day in enumerate(dates))


def test_a_list_may_say_the_form_of_its_dates(read, subtests):
    cases = [
        ("DD/MM/YYYY", "12/03/1980"),
        ("dd.mm.yyyy", "12.3.1980"),
        ("MM-DD-YYYY", "3-12-1980"),
        ("YYYY/MM/DD", "1980/03/12"),
        ("DDMMYYYY", "12031980"),
        ("DD MM YYYY", "12 03 1980"),
        ("DD/MM/YYYY", "1980-03-12"),  # always read
    ]
    for form, cell in cases:
        with subtests.test(form=form, cell=cell):
            (line,) = read(rows(cell), dates=DateForm.parse(form))

            assert line.customer.person.date_of_birth == DAY


@pytest.mark.parametrize(
    ("cell", "problem"),
    [
        ("1980/12/03", "10 characters that are not DD/MM/YYYY or YYYY-MM-DD"),
        ("31/02/1980", "a date that does not exist"),
        ("12/03/80", "8 characters that are not DD/MM/YYYY or YYYY-MM-DD"),
        ("12/03/2999", "a date in the future"),
    ],
)
def test_a_date_that_is_not_of_the_form_is_refused(read, cell, problem):
    (line,) = read(rows(cell), dates=DateForm.parse("DD/MM/YYYY"))

    assert [found.problem for found in line.problems] == [problem]


def test_what_is_no_form_is_refused(subtests):
    for text in ["", "DD/MM", "DD/MM/YY", "DD/MM.YYYY", "DD/DD/YYYY", "%d/%m/%Y", "YYYY-DD-MM"]:
        with subtests.test(text=text), pytest.raises(ValueError, match=r"expected|in that form"):
            DateForm.parse(text)


@pytest.mark.parametrize(
    ("dates", "problem", "hint"),
    [
        (("25/03/1980", "01/02/1990"), "2 dates are in the form DD/MM/YYYY", "read with --dates DD/MM/YYYY"),
        (("25.03.1980", "1990-01-31", "unknown"), "1 date is in the form DD.MM.YYYY", "read with --dates DD.MM.YYYY"),
        (("19801231",), "1 date is in the form YYYYMMDD", "read with --dates YYYYMMDD"),
        (
            ("01/02/1990", "12/12/1980"),
            "2 dates are in the form DD/MM/YYYY or MM/DD/YYYY: the values fit both",
            "say which, such as --dates DD/MM/YYYY",
        ),
        (("25/03/1980", "25.03.1980"), "2 dates are in several forms", "write all dates as YYYY-MM-DD"),
    ],
)
def test_the_form_that_all_refused_dates_fit_is_named_and_never_used(dated, dates, problem, hint):
    listed = dated(rows(*dates))

    found = [listed.hint for _ in (list(listed), list(listed))]  # as often as it is read

    assert [(one.column, one.problem, one.hint) for one in found] == [("date_of_birth", problem, hint)] * 2


@pytest.mark.parametrize("dates", [("1980-03-12",), ("unknown", ""), ("1980-02-30",)])
def test_a_list_without_dates_in_another_form_has_no_hint(dated, dates):
    listed = dated(rows(*dates))
    list(listed)

    assert listed.hint is None
