"""What a cell says: which cells stand for nothing, in which column they do not, and what a program has added."""

import json
import re
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.core.model.customers import PERSONAL, Channel, Customer
from onboarding_worker.lists.accept import accept
from onboarding_worker.lists.cells import DECIDING, MEANT, counts_as_empty, empty_word
from onboarding_worker.lists.cells import KEPT as KEPT_AS_IT_IS
from onboarding_worker.lists.lines import AcceptedLine, RefusedLine
from onboarding_worker.lists.options import ListOptions
from onboarding_worker.lists.phone_numbers import phone
from onboarding_worker.lists.rules import COLUMNS, RULES
from onboarding_worker.lists.warned import Warned
from onboarding_worker.providers.parameters import parse_cell
from onboarding_worker.providers.values import Refusal
from onboarding_worker.templates.no_values import LOOKUPS, WORDS
from tests.lists.conftest import TODAY

OPTIONS = ListOptions(today=TODAY, check_parameter=parse_cell)
GOOD = {"customer_id": "A1", "email": "a@example.com"}
KEPT = ("tags", "external_ref", "message.branch", "idenfy-kyc.externalRef")
EMPTIED = [column for column in COLUMNS if column not in (*KEPT, "customer_id", "email")]
AROUND = st.sampled_from(["", "()", "[]", "<>", "--", "''", '""', "  "])
IN_CASE = st.sampled_from([str, str.upper, str.lower, str.title])


def said(column: str, cell: object, options: ListOptions = OPTIONS) -> tuple[object, list[str]]:
    """What a good line has in a column, and the words that its warnings name."""
    line = accept(2, GOOD | {column: cell}, options)
    assert isinstance(line, AcceptedLine), line
    return value(line.customer, column), [empty_word(one) for one in line.if_used]


def value(customer: Customer, column: str) -> object:
    owner, dot, name = column.partition(".")
    if owner == "message":
        return (customer.person.message or {}).get(name)
    if dot:
        return customer.parameters.get(owner, {}).get(name)
    return getattr(customer.person if column in PERSONAL else customer, column)


@given(st.sampled_from(sorted(WORDS)), AROUND, IN_CASE, st.sampled_from(EMPTIED))
def test_a_word_for_nothing_is_never_a_value(word, around, case, column):
    text = f"{around[:1]}{case(word)}{around[1:]}".strip()
    meant = (text.lower(), column) in {("na", "country"), ("na", "nationality"), ("none", "channel")}
    found, words = said(column, text)
    empty = said(column, "")[0]
    assert meant or found == empty
    assert words == ([] if meant else [f'"{text}"'])


@pytest.mark.parametrize("cell", ["-", "--", "?", "…", "\u200b", "\ufeff\u2060", "=", '=""', "(–)", "#N/A", "#nv"])
def test_signs_alone_and_a_look_up_that_found_nothing_are_nothing_in_each_column(cell):
    for column in EMPTIED:
        assert said(column, cell) == (said(column, "")[0], [*map(empty_word, counts_as_empty(column, cell))])


def test_the_page_has_each_exception_of_the_code():
    page = Path("docs/reference/list-format.md").read_text(encoding="utf-8").partition("## Cells that say nothing")[2]
    rows = [line.split("|")[1] for line in page.partition("\n## ")[0].splitlines() if line.startswith("| `")]
    named = {column for row in rows for column in re.findall("`([a-z_]+)`", row)}
    names = {"customer_id", "consent", "date_of_birth", "first_name", "last_name"}
    assert named == {*MEANT, *KEPT_AS_IT_IS, *DECIDING, *names}


# Each row of that table.
@pytest.mark.parametrize(
    ("column", "cell", "meant"),
    [
        ("country", "NA", "NA"),
        ("country", "na", "NA"),
        ("nationality", "NA", "NA"),
        ("channel", "none", Channel.NONE),
        ("channel", "None", Channel.NONE),
        ("tags", "none", ("none",)),
        ("external_ref", "-", "-"),
        ("external_ref", "NULL", "NULL"),
        ("message.branch", "unknown", "unknown"),
        ("message.branch", "-", "-"),
        ("idenfy-kyc.externalRef", "none", "none"),
        ("last_name", "Null", ""),
    ],
)
def test_a_word_that_a_column_may_mean_is_kept(column, cell, meant):
    assert said(column, cell)[0] == meant


def test_a_name_that_is_such_a_word_is_kept_beside_a_real_one():
    line = accept(2, GOOD | {"first_name": "Christopher", "last_name": "Null"}, OPTIONS)
    assert (line.customer.person.last_name, line.if_used) == ("Null", ())


@pytest.mark.parametrize("column", KEPT)
def test_where_any_word_is_kept_a_look_up_that_found_nothing_and_invisible_signs_are_not(column):
    for cell in (*LOOKUPS, "#N/A", "\u200b"):
        assert not said(column, cell)[0]
    assert said("tags", "vip;#N/A")[0] == ("vip",)


def test_a_parameter_that_is_no_text_has_no_word():
    assert said("idenfy-kyc.generateDigitString", "NULL") == (None, ['"NULL"'])
    assert said("idenfy-kyc.generateDigitString", "true")[0] is True


@pytest.mark.parametrize("cell", [*sorted(WORDS), "-", "?", "\u200b", None, ""])
def test_a_consent_that_means_nothing_is_not_given(cell):
    assert said("consent", cell)[0] is None


@pytest.mark.parametrize("cell", ["00000000", "0000-00-00", "00.00.0000"])
def test_a_date_of_zeros_is_none(cell):
    assert said("date_of_birth", cell) == (None, [f'"{cell}"'])


def test_other_errors_of_a_spreadsheet_reject_the_row_and_cannot_be_mapped():
    options = ListOptions(today=TODAY, values={"phone": {"#ref!": ""}})
    line = accept(2, GOOD | {"phone": "#REF!"}, options)
    assert isinstance(line, RefusedLine)


def test_a_word_that_is_mapped_to_nothing_is_empty_in_each_column_and_no_warning():
    for column in (*COLUMNS, "message.branch", "idenfy-kyc.externalRef"):
        if column not in ("customer_id", "email"):
            mapped = ListOptions(today=TODAY, check_parameter=parse_cell, values={column: {"kein": "", "na": ""}})
            for word in ("Kein", "NA"):
                assert said(column, word, mapped) == (said(column, "")[0], [])


def test_a_word_that_is_mapped_to_a_value_is_that_value():
    mapped = ListOptions(today=TODAY, values={"consent": {"-": "false"}, "channel": {"null": "none"}})
    assert said("consent", "-", mapped) == (False, [])
    assert said("channel", "NULL", mapped) == (Channel.NONE, [])


def test_what_a_list_says_of_rows_without_a_value_holds_for_words_for_nothing_too():
    options = ListOptions(today=TODAY, defaults={"country": "DE", "locale": "de"})
    line = accept(2, GOOD | {"country": "n/a", "locale": "NULL", "phone": "0171 3920012"}, options)
    assert (line.customer.country, line.customer.locale) == ("DE", "de")
    assert line.customer.person.phone == "+491713920012"


def test_one_warning_counts_the_cells_by_column_and_word_and_those_that_decide_apart():
    cells = {"phone": "NULL", "country": "-", "kind": "n/a"}
    rows = [(row, accept(row, GOOD | cells, OPTIONS)) for row in (2, 3)]
    rows.append((4, accept(4, GOOD | {"phone": "n/a"}, OPTIONS)))
    together, apart = Warned((row, one) for row, line in rows for one in line.if_used).kinds
    assert (together.count, together.rows, apart.count) == (3, [2, 3, 4], 2)
    assert together.problem.problem.endswith('phone "NULL" 2, "n/a" 1; country "-" 2')
    assert apart.problem.problem.endswith('kind "n/a" 2')


def test_null_is_sent_where_it_means_something_at_the_provider():
    for provider in ("idenfy-kyc", "idenfy-kyb"):
        line = accept(2, GOOD | {f"{provider}.questionnaire": None, f"{provider}.externalRef": None}, OPTIONS)
        assert line.customer.parameters == {provider: {"questionnaire": None}}


# What is around a value.


@given(
    st.sampled_from(["\u202a{}\u202c", "\u2068{}\u2069", "{}\u200b", "\ufeff{}", "'{}", '="{}"', "\xa0{} ", "\u200e{}"])
)
def test_what_a_program_adds_around_a_number_an_address_or_an_id_is_taken_off(written):
    for column, plain in (
        ("phone", "+4915123456781"),
        ("customer_id", "0015g0"),
        ("external_ref", "0012"),
        ("entity_id", "7"),
    ):
        assert said(column, written.format(plain))[0] == plain
    if "'" not in written:
        assert said("email", written.format("ona@example.com"))[0] == "ona@example.com"


@pytest.mark.parametrize(
    ("text", "country", "meant"),
    [
        ("tel:+49 1512 3456781", "", "+4915123456781"),
        ("＋４９１５１２３４５６７９６", "", "+4915123456796"),
        ("(+49) 1512 3456781", "", "+4915123456781"),
        ("+52 1 55 1234 5678", "", "+525512345678"),
        ("044 55 1234 5678", "MX", "+525512345678"),
        ("01 55 1234 5678", "MX", "+525512345678"),
        ("5215512345678", "MX", "+525512345678"),
        ("+52 55 1234 5678", "", "+525512345678"),
    ],
)
def test_a_number_that_is_plainly_one_is_read(text, country, meant):
    assert phone(text, country) == meant


@pytest.mark.parametrize(
    ("column", "cell", "named"),
    [
        ("phone", "+4915123\u200b456783", "U+200B ZERO WIDTH SPACE"),
        ("phone", "+4915123\u202c456783", "U+202C POP DIRECTIONAL FORMATTING"),
        ("email", "ona\u200b@example.com", "U+200B ZERO WIDTH SPACE"),
        ("email", "ona@exam\u00adple.com", "U+00AD SOFT HYPHEN"),
        ("customer_id", "A\u200b1", "U+200B ZERO WIDTH SPACE"),
        ("external_ref", "A\ufeff1", "U+FEFF ZERO WIDTH NO-BREAK SPACE"),
    ],
)
def test_an_invisible_character_in_the_middle_is_named(column, cell, named):
    line = accept(2, GOOD | {column: cell}, OPTIONS)
    assert isinstance(line, RefusedLine)
    assert [problem.column for problem in line.problems] == [column]
    assert named in line.problems[0].problem


@given(st.sampled_from([*COLUMNS, "message.branch"]), st.text(max_size=40))
def test_what_was_read_reads_the_same_again(column, text):
    line = accept(2, GOOD | {"channel": "none"} | {column: text}, OPTIONS)
    if isinstance(line, AcceptedLine):
        first = value(line.customer, column)
        plain = first.isoformat() if isinstance(first, date) else list(first) if isinstance(first, tuple) else first
        again = accept(2, GOOD | {"channel": "none"} | {column: plain}, OPTIONS)
        assert isinstance(again, AcceptedLine)
        assert value(again.customer, column) == first


# The words that people have for things.


def test_consent_is_read_in_the_languages_that_we_ship():
    for word in ("Ja", "WAHR", "Oui", "vrai", "Sí", "SI", "verdadero", "taip", "J", "x"):
        assert RULES["consent"](word) is True or (word == "x" and isinstance(RULES["consent"](word), Refusal))
    for word in ("Nein", "FALSCH", "non", "faux", "No", "falso", "ne", "N"):
        assert RULES["consent"](word) is False


def test_a_language_is_read_by_its_name_in_the_languages_that_we_ship():
    names = (
        "Deutsch",
        "German",
        "allemand",
        "Alemán",
        "vokiečių",
        " DEUTSCH ",
        "Französisch",
        "Franzoesisch",
        "lietuvių",
    )
    assert [said("locale", name)[0] for name in names] == [*["de"] * 6, "fr", "fr", "lt"]
    assert said("locale", "Brazilian Portuguese")[0] == "pt-BR"
    assert said("locale", "Teutonic")[0] == ""


def test_the_letter_of_german_cars_is_germany_and_no_other_letter_is_a_country():
    assert said("country", "D")[0] == "DE"
    assert [letter for letter in "ABCEFGHIJKLMNOPQRSTUVWXYZ" if not isinstance(RULES["country"](letter), Refusal)] == []


def test_the_same_cells_say_the_same_in_each_format(read):
    cells = {
        "customer_id": "A1",
        "email": "a@example.com",
        "phone": "n/a",
        "country": "D",
        "consent": "Ja",
        "locale": "Deutsch",
    }
    by_csv = read(";".join(cells) + "\n" + ";".join(cells.values()) + "\n")
    by_json = read(json.dumps(cells), form="jsonl")
    assert [line.customer for line in by_csv] == [line.customer for line in by_json]
    assert (by_csv[0].customer.country, by_csv[0].customer.locale, by_csv[0].customer.consent) == ("DE", "de", True)
