"""Who has an id: the person who is stored under it, or another one."""

from dataclasses import replace
from datetime import date
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.core.customers.customers import CustomerKind, Person
from onboarding_worker.lists.same_person import Match, changed_addresses, compare, compare_marks, marks

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
