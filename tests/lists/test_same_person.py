"""Who has an id: the person who is stored under it, or another one."""

from dataclasses import replace
from datetime import date
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.core.model.customers import CustomerKind, Person
from onboarding_worker.lists.same_person import Match, changed_addresses, compare, compare_marks, is_same_id, marks

ONA = Person(
    email="ona@example.com",
    phone="+37060000001",
    first_name="Ona",
    last_name="Petraitė",
    date_of_birth=date(1990, 12, 31),
)
JONAS = Person(
    email="jonas@example.com",
    phone="+37060000002",
    first_name="Jonas",
    last_name="Kazlauskas",
    date_of_birth=date(1985, 1, 2),
)
OWN = {"name": ("first_name", "last_name"), "birth": ("date_of_birth",), "email": ("email",), "phone": ("phone",)}


def only(person: Person, *names: str) -> Person:
    return Person(**{field: getattr(person, field) for name in names for field in OWN[name]})


@pytest.mark.parametrize("agrees", OWN)
def test_one_thing_that_agrees_is_enough(agrees):
    given = {field: getattr(ONA, field) for field in OWN[agrees]}
    assert compare(ONA, replace(JONAS, **given)) is Match.SAME


def test_if_nothing_agrees_it_is_another_person():
    assert compare(ONA, JONAS) is Match.ANOTHER


@pytest.mark.parametrize("one", ["email", "phone"])
def test_an_address_that_differs_is_a_changed_one_where_nothing_else_is_in_both(one):
    assert compare(only(ONA, one), only(JONAS, one)) is Match.CHANGED_ADDRESS
    assert compare(ONA, only(JONAS, one)) is Match.CHANGED_ADDRESS
    assert compare(only(ONA, one), JONAS) is Match.CHANGED_ADDRESS


@pytest.mark.parametrize("one", ["name", "birth"])
def test_a_name_or_a_birth_date_alone_that_differs_is_another_person(one):
    assert compare(ONA, only(JONAS, one)) is Match.ANOTHER


def test_both_addresses_that_differ_are_another_person():
    assert compare(ONA, only(JONAS, "email", "phone")) is Match.ANOTHER


def test_where_nothing_is_in_both_nothing_speaks_against_it():
    assert compare(only(ONA, "email"), only(JONAS, "phone", "name")) is Match.SAME
    assert compare(ONA, Person()) is Match.SAME
    assert compare(Person(), JONAS) is Match.SAME


def test_a_name_agrees_in_any_case_order_and_spelling(subtests):
    for first, last in [
        ("ONA", "PETRAITE"),
        ("Petraitė", "Ona"),
        ("", "Petraitė, Ona"),
        (" Ona ", "Petraite\u0307"),
        ("Ona Marija", "Petraitė"),
        ("Ona", ""),
        ("Ona", "Petraitė-Kazlauskienė"),
    ]:
        with subtests.test(first=first, last=last):
            assert compare(ONA, replace(JONAS, first_name=first, last_name=last)) is Match.SAME


def test_letters_of_many_languages_agree_with_their_plain_spelling(subtests):
    for ours, theirs in [
        ("Jürgen Müller", "Juergen Mueller"),
        ("Łukasz Đorđević", "Lukasz Dordevic"),
        ("Séan O'Brien", "Sean O’Brien"),
        ("Sean OBrien", "Seán O'Brien"),
        ("Anne-Marie Groß", "Annemarie Gross"),
        ("山田 太郎", "山田太郎"),
        ("Ｏｎａ", "ona"),
    ]:
        with subtests.test(ours=ours, theirs=theirs):
            stored, new = replace(ONA, first_name=ours, last_name=""), replace(JONAS, first_name=theirs, last_name="")
            assert compare(stored, new) is Match.SAME


def test_a_name_of_signs_alone_says_nothing():
    assert compare(only(ONA, "name"), Person(first_name="-", last_name="…")) is Match.SAME


def test_one_first_name_of_two_families_is_two_people():
    assert compare(ONA, replace(JONAS, first_name="Ona")) is Match.ANOTHER


def test_a_given_name_says_nothing_about_a_family_name():
    stored, new = Person(first_name="Ona", email=ONA.email), Person(last_name="Kazlauskas", email=JONAS.email)
    assert compare(stored, new) is Match.CHANGED_ADDRESS
    assert compare(stored, replace(new, first_name="Jonas")) is Match.ANOTHER


def test_a_company_is_known_by_its_own_name_whoever_speaks_for_it():
    stored, new = replace(ONA, company_name="Acme, UAB"), replace(JONAS, company_name="UAB ACME")
    assert compare(stored, new, CustomerKind.COMPANY) is Match.SAME
    assert compare(stored, new, CustomerKind.INDIVIDUAL) is Match.ANOTHER, "two people of one employer"
    assert compare(stored, replace(JONAS, company_name="Kita UAB Firma"), CustomerKind.COMPANY) is Match.ANOTHER


def test_spellings_of_one_mailbox_agree():
    assert compare(ONA, replace(JONAS, email="Ona@EXAMPLE.com")) is Match.SAME
    assert compare(ONA, replace(JONAS, email="ona+2@example.com")) is Match.ANOTHER


def test_changed_addresses_are_those_that_both_have_and_that_differ():
    assert changed_addresses(ONA, JONAS) == ("email", "phone")
    assert changed_addresses(ONA, replace(ONA, email="ONA@example.com", phone="+37060000009")) == ("phone",)
    assert changed_addresses(ONA, only(JONAS, "email")) == ("email",)
    assert changed_addresses(only(ONA, "email"), only(JONAS, "phone")) == ()


PEOPLE = st.lists(st.sampled_from(sorted(OWN)), unique=True)


@given(PEOPLE, PEOPLE)
def test_hashes_of_the_marks_say_the_same_as_the_marks(ours, theirs):
    for stored, new in product((only(ONA, *ours), only(JONAS, *ours)), (only(ONA, *theirs), only(JONAS, *theirs))):
        hashes = [[hash(mark) if mark else 0 for mark in marks(person)] for person in (stored, new)]
        assert compare_marks(*hashes) is compare_marks(marks(stored), marks(new)) is compare(stored, new)


@given(st.text(max_size=50), st.text(max_size=50))
def test_every_name_agrees_with_itself_in_either_order(first, last):
    one, other = Person(first_name=first, last_name=last), Person(first_name=last, last_name=first)
    assert compare(one, other) is Match.SAME


# Published with Salesforce's algorithm: https://gammone.com/en/programming/how-to-convert-salesforce-id-from-15-to-18-chars
# and https://theblogreaders.com/what-is-the-difference-between-a-15-digit-and-a-18-digit-salesforce-id/
PUBLISHED = {"a0D30000001n7Pi": "EAI", "0019000000B98de": "AAB", "001A0000006Vm9r": "IAC"}


def test_an_id_of_salesforce_is_the_same_with_15_and_with_18_characters():
    for short, check in PUBLISHED.items():
        long = short + check
        forms = [short, long, long.lower(), long.upper()]
        assert [form for form in forms if not is_same_id(form, long) or not is_same_id(short, form)] == []
        wrong = [short.swapcase(), short[:-1] + "X", short + "000", short + "!!!", long + "A", long[:-1], f"X{long}"]
        assert [form for form in wrong if is_same_id(form, long)] == []


LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"


def with_18(short: str) -> str:
    """As Salesforce describes it: each five characters, the last first, are a number of ones for capitals."""
    parts = [short[at : at + 5][::-1] for at in (0, 5, 10)]
    return short + "".join(LETTERS[int("".join("01"[one.isupper()] for one in part), 2)] for part in parts)


IDS = st.text("abcXYZ019", min_size=15, max_size=15)


@given(IDS, IDS)
def test_two_ids_of_15_characters_are_one_with_18_only_if_they_are_one(one, other):
    assert [with_18(short) for short in PUBLISHED] == [short + check for short, check in PUBLISHED.items()]
    assert is_same_id(one, with_18(one))
    assert is_same_id(with_18(one).lower(), with_18(one).upper())
    for changed in (other, one.lower(), one.upper(), one[1:] + one[:1]):
        same = one == changed or (one.isdigit() and changed.isdigit() and int(one) == int(changed))
        assert (is_same_id(one, changed), is_same_id(with_18(changed), one)) == (same, same)


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.integers(0, 20))
def test_an_id_of_digits_is_the_same_with_leading_zeros(one, other, zeros):
    assert is_same_id(f"{one}", f"{'0' * zeros}{one}")
    assert is_same_id(f"{one:010}", f"{other}") == (one == other)
    assert not is_same_id(f"C{one}", f"{'0' * zeros}C{one}1")
