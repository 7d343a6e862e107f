"""Which names are no names: what programs write where there is none, and what a wrong encoding makes of one."""

import string
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.templates.no_values import SPOILED, is_no_value, real_name, real_names

WORDS = r"NULL \N nan NaN undefined - -- ? . (null) <null> [NULL] None none N/A n/a #N/A"
VARIABLES = (
    "{{first_name}} {first_name} %FIRSTNAME% *|FNAME|* ${name} [FIRST_NAME] <name> <<name>> $name [first_name]"
    " ~FirstName~ «First_Name» {!Contact.FirstName} ##FNAME## @@first@@ %%FirstName%% -firstname- #{name}"
)
SPACED = [
    "[First Name]",
    "[FirstName]",
    "[Vorname]",
    "%First Name%",
    "[[First Name]]",
    "First Name",
    "Vorname",
    "[object Object]",
    "None Given",
]
LETTERS = "éüößœŸŠžąčęėįšųūłńŻøåæñçřů"


@pytest.mark.parametrize("name", [*WORDS.split(), *VARIABLES.split(), *SPACED, "Dear {{first_name}}", "<%= name %>"])
def test_what_stands_for_no_name_is_none(name):
    assert real_name(name) == ""
    assert real_names(name, name) == ("", "")
    assert real_names(name, "Petrauskaitė") == ("", "Petrauskaitė")


def test_a_person_of_an_odd_name_keeps_it(subtests):
    for first, last in [
        ("Christopher", "Null"),
        ("CHRISTOPHER", "NULL"),
        ("christopher", "null"),
        ("J.", "Null"),
        ("Nan", "Goldin"),
        ("Hye-jin", "Na"),
        ("Åsa", "Ängström"),
        ("MATÚŠ", "ŠIMŮNEK"),
        ("Weiß–Meier", "Ð"),
        ("伟", "王"),
        ("O'Brien", "d'Ángelo"),
        ("N", "U"),
    ]:
        with subtests.test(first=first, last=last):
            assert real_names(first, last) == (first, last)


def test_a_real_first_name_makes_no_name_of_what_a_program_wrote(subtests):
    for last in ["NULL", "null", "nan", "None", "undefined", "N/A", "-", "{{last_name}}"]:
        with subtests.test(last=last):
            assert real_names("Ona", last) == ("Ona", "")
            assert real_names("", last) == ("", "")


@given(st.text(string.ascii_letters + "-' ", max_size=8), st.text(LETTERS, min_size=1, max_size=4))
def test_letters_that_were_read_in_a_wrong_encoding_are_known(before, letters):
    name = before + letters
    assert not SPOILED.search(unicodedata.normalize("NFC", name))
    spoiled = "".join(bytes([byte]).decode("cp1252", "replace") for byte in name.encode())
    assert SPOILED.search(spoiled)
    assert real_name(spoiled) == ""


@given(st.text())
def test_a_name_is_kept_as_it_is_or_not_at_all(text):
    assert real_name(text) in ("", text)
    assert real_names(text, text) in (("", ""), (text, text))


def test_a_company_with_such_a_word_in_its_name_keeps_it(subtests):
    for company in ["Null GmbH", "[solidcore]", "3M", "100% Real", "Ðuro d.o.o.", "None & Sons"]:
        with subtests.test(company=company):
            assert real_name(company) == company


def test_an_id_may_have_signs_that_no_name_has():
    assert [text for text in ("{3F2504E0-4F89}", "[12]", "null-1") if is_no_value(text)] == []
