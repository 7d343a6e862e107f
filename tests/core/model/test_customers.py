"""A customer's details as lists, events and reports name them."""

from datetime import date

from onboarding_worker.core.model.customers import (
    MOST_OWN,
    OF_PERSON,
    PERSONAL,
    UPDATABLE,
    Channel,
    CustomerKind,
    Details,
    FieldProblem,
    Person,
    invitation_channels,
    with_own,
)
from tests.suite.cases import differing

MANY = {f"c{number}": "old" for number in range(MOST_OWN)}


def test_the_columns_for_messages_alone_are_no_personal_field_of_their_own():
    assert (set(OF_PERSON) - set(PERSONAL), set(UPDATABLE) - set(PERSONAL)) == (
        {"message"},
        {"country", "locale", "timezone"},
    )


def test_an_invitation_goes_out_on_the_channels_that_the_list_names():
    cases = [
        (Channel.EMAIL, ("email",)),
        (Channel.SMS, ("sms",)),
        (Channel.WHATSAPP, ("whatsapp",)),
        (Channel.BOTH, ("email", "sms")),
        (Channel.NONE, ()),
    ]
    assert {case[0] for case in cases} == set(Channel)
    assert differing(cases, invitation_channels) == []


def test_newer_columns_for_messages_stand_beside_older_ones_and_in_their_place():
    cases = [
        (None, None, None),
        (None, {}, None),
        ({"a": "1"}, {}, {"a": "1"}),
        (None, {"a": "1"}, {"a": "1"}),
        ({"a": "1", "b": "2"}, {"b": "3"}, {"a": "1", "b": "3"}),
        ({"a": "1"}, {"b": "3"}, {"a": "1", "b": "3"}),
    ]
    assert differing(cases, lambda had, newer: with_own(Person("o@x.lt", message=had), newer).message) == []
    assert with_own(Person("o@x.lt"), {"a": "1"}).email == "o@x.lt"


def test_of_too_many_columns_for_messages_the_newer_ones_stay():
    both = with_own(Person(message=MANY), {"n1": "new", "n2": "new"}).message
    assert len(both) == MOST_OWN
    assert [name for name, value in both.items() if value == "new"] == ["n1", "n2"]
    assert with_own(Person(message=MANY), {"c0": "new"}).message == MANY | {"c0": "new"}


def test_a_detail_is_read_by_the_name_of_its_column_and_shown_as_text():
    born = date(1990, 5, 17)
    person = Person(email="ona@example.org", date_of_birth=born, message={"car": "VW"})
    details = Details(person, country="LT", locale="lt", timezone="Europe/Vilnius", kind=CustomerKind.COMPANY)
    cases = [
        ("email", "ona@example.org", "ona@example.org"),
        ("phone", "", ""),
        ("date_of_birth", born, "1990-05-17"),
        ("country", "LT", "LT"),
        ("timezone", "Europe/Vilnius", "Europe/Vilnius"),
        ("message.car", "VW", "VW"),
        ("message.plate", "", ""),
    ]
    assert [(column, details.get(column), details.shown(column)) for column, *_ in cases] == cases
    assert (Details(Person()).get("message.car"), Details(Person()).shown("date_of_birth")) == ("", "")


def test_problems_with_one_remedy_differ_only_in_digits():
    of = FieldProblem("phone", "has 3 digits", "write 11 of them")
    assert of.remedy == FieldProblem("phone", "has 5 digits", "write 12 of them").remedy
    assert of.remedy != FieldProblem("email", "has 3 digits", "write 11 of them").remedy
    assert FieldProblem("phone", "is empty").remedy == ("phone", "is empty")
    assert FieldProblem("phone", "is empty", "10").remedy == ("phone", "is empty")
    assert (of.named, FieldProblem("", "is empty").named) == ("phone: has 3 digits", "is empty")
