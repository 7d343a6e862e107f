"""docs/events says of an event what the worker says: each event here goes to the schema of its type and to the worker.

`JUDGED` are events about which both must agree. `ONLY_THE_WORKER` are those that only the worker can refuse, and
`MORE_FORMS` those that it accepts in a form that the schemas leave out on purpose.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onboarding_worker.core.model.customers import UPDATABLE
from onboarding_worker.core.model.incoming import OPERATOR, EventKind
from onboarding_worker.events.cloudevents import Unreadable, read
from onboarding_worker.events.event_receiver import Judging
from onboarding_worker.events.standing import Arrival
from tests.events.schemas import incoming

NEW, CHANGED, ENDED, GONE = EventKind.REQUESTED, EventKind.UPDATED, EventKind.CANCELLED, EventKind.ERASED
ANN = {"customer_id": "C-1", "email": "ann@example.com"}
Judge = Callable[[dict[str, Any]], bool]
SCHEMAS = {
    kind.value: jsonschema.Draft202012Validator(
        incoming(kind), format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )
    for kind in EventKind
}


def new(**columns: Any) -> tuple[EventKind, dict[str, Any], dict[str, Any]]:
    """A request of Ann with these columns."""
    return NEW, {}, ANN | columns


def of_no_address(**columns: Any) -> tuple[EventKind, dict[str, Any], dict[str, Any]]:
    return NEW, {}, {"customer_id": "C-1"} | columns


def about(**attributes: Any) -> tuple[EventKind, dict[str, Any], dict[str, Any]]:
    """A request of Ann in this envelope."""
    return NEW, attributes, ANN


def change(**columns: Any) -> tuple[EventKind, dict[str, Any], dict[str, Any]]:
    return CHANGED, {}, {"customer_id": "C-1"} | columns


JUDGED = {
    # What the envelope holds.
    "nothing but what is needed": (about(), True),
    "an extension": (about(partition="7"), True),
    "a time": (about(time="2026-11-20T08:00:00Z"), True),
    "a time with a fraction and an offset": (about(time="2026-11-20T08:00:00.123456789+02:00"), True),
    "a time of null": (about(time=None), True),
    "a time without a zone": (about(time="2026-11-20T08:00:00"), False),
    "an empty time": (about(time=""), False),
    "a day for a time": (about(time="2026-11-20"), False),
    "a day that does not exist": (about(time="2026-02-30T08:00:00Z"), False),
    "a number for a time": (about(time=1_700_000_000), False),
    "application/json": (about(datacontenttype="application/json"), True),
    "application/json with its characters": (about(datacontenttype="application/json; charset=utf-8"), True),
    "a type of JSON of their own": (about(datacontenttype="application/vnd.example+json"), True),
    "text/json": (about(datacontenttype="text/json"), True),
    "no type of data": (about(datacontenttype=None), True),
    "data that is XML": (about(datacontenttype="application/xml"), False),
    "data that is a batch": (about(datacontenttype="application/cloudevents-batch+json"), False),
    "a source beyond ASCII": (about(source="/anmeldung/Zürich"), True),
    "a source with a space": (about(source="the CRM"), True),
    "an empty source": (about(source=""), False),
    "a source of 201 characters": (about(source="s" * 201), False),
    "a source of 200 characters": (about(source="s" * 200), True),
    "a source of null": (about(source=None), False),
    "an id of blanks": (about(id="   "), False),
    "an id with a tab": (about(id="a\tb"), False),
    "an id that ends with a line break": (about(id="a\n"), False),
    "an id with a space that does not break": (about(id="a\xa0b"), False),
    "an id with a mark of no width": (about(id="a\u200bb"), False),
    "an id with spaces around it": (about(id=" a "), True),
    "an id beyond ASCII": (about(id="é"), True),
    "a number for an id": (about(id=7), False),
    "both data and data_base64": (about(data_base64="e30="), False),
    "data_base64 of null": (about(data_base64=None), True),
    "another version": (about(specversion="0.3"), False),
    # The customer's id.
    "an id with a dot and a slash": (new(customer_id="a.b/C 1"), True),
    "a customer_id beyond ASCII": (new(customer_id="Zoë"), False),
    "an empty customer_id": (new(customer_id=""), False),
    "a customer_id of blanks": (new(customer_id="  "), False),
    "a customer_id of 101": (new(customer_id="c" * 101), False),
    "an address for a customer_id": (new(customer_id="ann@example.com"), False),
    "a number of a phone for a customer_id": (new(customer_id="+370 600 00000"), False),
    "a shortened number for a customer_id": (new(customer_id="4.4791E+11"), False),
    "a shortened whole number for a customer_id": (new(customer_id="1E+05"), False),
    "digits and a letter for a customer_id": (new(customer_id="12E5"), True),
    "a spreadsheet's error for a customer_id": (new(customer_id="#DIV/0!"), False),
    "signs for a customer_id": (new(customer_id=" #### "), False),
    "a word for no value for a customer_id": (new(customer_id="NaN"), False),
    "an id that begins so": (new(customer_id="null-7"), True),
    "a sign for a customer_id": (new(customer_id="(-)"), False),
    "digits for a customer_id": (new(customer_id="44791"), True),
    # Where messages go.
    "neither email nor phone": (of_no_address(), False),
    "a name alone": (of_no_address(first_name="Ann"), False),
    "no message": (of_no_address(channel="none"), True),
    "an empty email and no phone": (of_no_address(email=""), False),
    "an email of null and no phone": (of_no_address(email=None), False),
    "an empty email and a phone": (of_no_address(email="", phone="+37060000001"), True),
    "a phone alone": (of_no_address(phone="+37060000001"), True),
    "a mail without an email": (of_no_address(channel="email", phone="+37060000001"), False),
    "a text without a phone": (new(channel="sms"), False),
    "a text": (new(channel="sms", phone="+37060000001"), True),
    "both without a phone": (new(channel="both"), False),
    "both": (new(channel="both", phone="+37060000001"), True),
    "an empty channel": (new(channel=""), True),
    "a channel that does not exist": (new(channel="fax"), False),
    "an email without a domain": (of_no_address(email="ann"), False),
    "an email whose domain has no dot": (of_no_address(email="ann@example"), False),
    "two emails": (of_no_address(email="ann@example.com, bob@example.com"), False),
    "an email beyond ASCII": (of_no_address(email="ann@exämple.com"), True),
    "a national phone with its country": (new(phone="060000001", country="LT"), True),
    "a national phone without a country": (new(phone="060000001"), False),
    "a national phone with an empty country": (new(phone="060000001", country=""), False),
    "a phone with signs": (new(phone="+370 (600) 00-001"), True),
    "a phone of letters": (new(phone="+370 CALL ME"), False),
    "a phone of sixteen digits": (new(phone="+3706000000123456"), False),
    # The other columns.
    "each column": (
        new(
            kind="individual",
            purpose="loan",
            phone="+37060000001",
            first_name="Zoë",
            last_name="O’Hara-Ng",
            company_name="Ann & Söhne",
            date_of_birth="1990-12-31",
            sex="F",
            nationality="LTU",
            address="Gedimino pr. 1\nVilnius",
            consent=True,
            country="lt",
            locale="pt-BR",
            timezone="Europe/Vilnius",
            channel="email",
            account="kyc",
            external_ref="R-1",
            tags=["a", "b c"],
            template="default",
        ),
        True,
    ),
    "a line break in a name": (new(first_name="Ann\nBob"), False),
    "a tab in a name": (new(last_name="Ann\tBob"), False),
    "a mark that reorders a name": (new(first_name="Ann\u202ebob"), False),
    "a name of 101": (new(company_name="c" * 101), False),
    "an empty name": (new(first_name=""), True),
    "a name of null": (new(first_name=None), True),
    "a comma in a tag": (new(tags=["a,b"]), False),
    "a line break in a tag": (new(tags=["a\nb"]), False),
    "a tag of 33": (new(tags=["t" * 33]), False),
    "six tags": (new(tags=list("abcdef")), False),
    "no tags": (new(tags=[]), True),
    "a number among the tags": (new(tags=[1]), False),
    "an external_ref beyond ASCII": (new(external_ref="réf"), False),
    "a shortened external_ref": (new(external_ref="1.5E10"), False),
    "an external_ref of null": (new(external_ref=None), True),
    "an empty entity_id": (new(entity_id=""), True),
    "a consent of null": (new(consent=None), True),
    "an external_ref of 41": (new(external_ref="r" * 41), False),
    "an entity_id beyond ASCII": (new(entity_id="é"), False),
    "an entity_id": (new(entity_id="2d40a8b8-33f5-4d2f-9a35-1dbbe0a0d8a1"), True),
    "another kind": (new(kind="person"), False),
    "a purpose of two words": (new(purpose="two words"), False),
    "a country of four letters": (new(country="LTUA"), False),
    "a sex that is none": (new(sex="Z"), False),
    "a time zone that does not exist": (new(timezone="Europe/Atlantis"), True),  # left out
    "a day of birth as in Germany": (new(date_of_birth="31.12.1990"), False),
    "a day of birth that does not exist": (new(date_of_birth="1990-02-30"), False),
    "an empty day of birth": (new(date_of_birth=""), True),
    "an account with a space": (new(account="k yc"), False),
    "a template with a slash": (new(template="../x"), False),
    "an object for a name": (new(first_name={"a": 1}), False),
    "columns for messages": (new(message={"branch": "Vilnius", "adviser": None, "floor_2": ""}), True),
    "a column for messages with a line break": (new(message={"branch": "Vilnius\nBcc: x"}), False),
    "a column for messages with our name": (new(message={"link": "x"}), False),
    "a column for messages with a sign in its name": (new(message={"a'b": "x"}), False),
    "a text for the columns for messages": (new(message="Vilnius"), False),
    "an object for a column for messages": (new(message={"branch": {"a": "x"}}), False),
    "a column that does not exist": (new(mail="ann@example.com"), False),
    "a parameter of a provider": (new(**{"idenfy-kyc.documents": ["PASSPORT"]}), True),
    "an object of parameters": (new(**{"idenfy-kyc": {"documents": ["PASSPORT"]}}), True),
    # The customer is in the app.
    "minutes": (new(invite_after="30 minutes"), True),
    "an hour and a half": (new(invite_after="1.5 hours"), True),
    "seconds, short": (new(invite_after="90s"), True),
    "no wait": (new(invite_after=None), True),
    "parsecs": (new(invite_after="30 parsecs"), False),
    "an empty wait": (new(invite_after=""), False),
    "a number without a unit": (new(invite_after="30"), False),
    "a wait that is a number": (new(invite_after=30), False),
    # Updates.
    "a new address": (change(email="new@example.com"), True),
    "all that an update changes": (
        change(
            email="new@example.com",
            phone="060000001",
            first_name="Ann",
            last_name="Bo",
            company_name="Ann",
            date_of_birth="1990-12-31",
            sex="F",
            nationality="LT",
            address="Gedimino pr. 1",
            country="LT",
            locale="de",
            timezone="Europe/Vilnius",
        ),
        True,
    ),
    "nothing new": (change(), False),
    "an empty email in an update": (change(email=""), False),
    "an email of null in an update": (change(email=None), False),
    "a blank name in an update": (change(first_name=" "), False),
    "columns for messages in an update": (change(message={"branch": "Kaunas"}), True),
    "an empty column for messages in an update": (change(message={"branch": ""}), False),
    "a national phone in an update": (change(phone="060000001"), False),
    "invite_after in an update": (change(email="new@example.com", invite_after="1 h"), False),
    **{
        f"an update of {name}": (change(email="new@example.com", **{name: value}), False)
        for name, value in {
            "kind": "company",
            "purpose": "loan",
            "channel": "email",
            "account": "kyc",
            "entity_id": "1",
            "external_ref": "R-1",
            "tags": ["a"],
            "template": "default",
            "consent": True,
            "idenfy-kyc": {"documents": ["PASSPORT"]},
            "idenfy-kyc.documents": ["PASSPORT"],
        }.items()
    },
    # Ends.
    "a cancellation": ((ENDED, {}, {"customer_id": "C-1"}), True),
    "a cancellation of a purpose": ((ENDED, {}, {"customer_id": "C-1", "purpose": "loan"}), True),
    "a cancellation with an email": ((ENDED, {}, ANN), False),
    "an erasure": ((GONE, {}, {"customer_id": "C-1"}), True),
    "an erasure of a purpose": ((GONE, {}, {"customer_id": "C-1", "purpose": "loan"}), False),
    "an erasure without a customer": ((GONE, {}, {}), False),
}
# A schema knows no configuration, no date of today, no other list of names, and no plan of numbers.
ONLY_THE_WORKER = {
    "an account that is not configured": new(account="nowhere"),
    "a parameter that it has no right to set": new(**{"idenfy-kyc.checkAml": True}),
    "a channel that is not configured": new(channel="whatsapp", phone="+37060000001"),
    "a country that does not exist": new(country="XX"),
    "an address in a column for messages": new(message={"branch": "evil.example"}),
    "a day of birth in the future": new(date_of_birth="2999-01-01"),
    "a number that its country has not": new(phone="+370600"),
    "the digits of its phone for a customer_id": new(customer_id="37060000001", phone="+37060000001"),
    "a wait that is longer than the link lives": new(invite_after="9 weeks"),
    "a parameter that does not exist": new(**{"idenfy-kyc.nothing": 1}),
    "an email whose top domain cannot be": of_no_address(email="ann@example.c_m"),
}
MORE_FORMS = {
    "a number for a customer_id": new(customer_id=17),
    "a word for no phone, no consent and no country": new(phone="NULL", consent="n/a", country="unbekannt"),
    "a look-up that found no name": new(kind="#N/A"),
    "a language's name": new(locale="Deutsch"),
    "a column for messages in capitals": new(message={"Branch": 3}),
    "a kind in capitals": new(kind="INDIVIDUAL"),
    "a country's name": new(country="Lietuva"),
    "a locale that is none, and left out": new(locale="english"),
    "a word for consent": new(consent="yes"),
    "a text for tags": new(tags="a; b"),
    "a column's name as in a list": new(**{"First Name": "Ann"}),
    "spaces around an email": of_no_address(email=" ann@example.com "),
    "a name of blanks": new(first_name="  "),
    "a type of data in capitals": about(datacontenttype="Application/JSON"),
    "a space in a time": about(time="2026-11-20 08:00:00Z"),
}


def event(of: tuple[EventKind, dict[str, Any], dict[str, Any]]) -> dict[str, Any]:
    kind, attributes, data = of
    return {"specversion": "1.0", "id": "1", "source": "/crm", "type": kind.value} | attributes | {"data": data}


def fits(message: dict[str, Any]) -> bool:
    return SCHEMAS[message["type"]].is_valid(message)


@pytest.fixture
async def accepts(make: Any) -> Judge:
    """Whether the worker accepts an event, by its bytes."""
    # Every column is used, where a wrong value of an unused one is only warned of; and set with the right to.
    rights = '[rights]\nlibrary = ["account", "idenfy-kyc.documents"]'
    world = make(more='prefill = "all"\nper_row = ["account", "documents"]', follow_up=rights)
    judging = Judging(world.parts.intake, world.parts.keyring)

    def judge(message: dict[str, Any]) -> bool:
        found = read(json.dumps(message).encode(), content_type="application/cloudevents+json", attributes={})
        if isinstance(found, Unreadable):
            return False
        return isinstance(judging.judge(replace(found, sender=OPERATOR), now=world.clock()), Arrival)

    return judge


async def test_the_schema_and_the_worker_say_the_same_of_an_event(accepts: Judge):
    found = {what: (fits(event(of)), accepts(event(of))) for what, (of, _) in JUDGED.items()}
    assert found == {what: (good, good) for what, (_, good) in JUDGED.items()}


async def test_only_the_worker_refuses_what_no_schema_can_know(accepts: Judge):
    found = {what: (fits(event(of)), accepts(event(of))) for what, of in ONLY_THE_WORKER.items()}
    assert found == dict.fromkeys(ONLY_THE_WORKER, (True, False))


async def test_the_worker_reads_more_forms_than_the_plain_one_of_the_schemas(accepts: Judge):
    found = {what: (fits(event(of)), accepts(event(of))) for what, of in MORE_FORMS.items()}
    assert found == dict.fromkeys(MORE_FORMS, (False, True))


def test_an_update_has_the_columns_that_the_worker_lets_it_change():
    columns = incoming(CHANGED)["properties"]["data"]["properties"]
    assert set(columns) == {"customer_id", *UPDATABLE, "message"}


def values(kind: EventKind, *verdicts: bool) -> dict[str, list[Any]]:
    """The values of each column in the events of this type that are judged so."""
    found: dict[str, list[Any]] = {}
    for (of, _, data), good in JUDGED.values():
        for name, value in data.items() if of is kind and good in verdicts else ():
            known = found.setdefault(name, [])
            if not any(one is value or one == value for one in known):
                known.append(value)
    found.pop("idenfy-kyc", None)  # not together with its parts
    return found


def mixed(kind: EventKind) -> st.SearchStrategy[dict[str, Any]]:
    """An event of good values, with one that is any."""
    good = {name: st.sampled_from(found) for name, found in values(kind, True).items()}
    needed = {"customer_id": good.pop("customer_id")}
    one = st.one_of(
        *(st.tuples(st.just(name), st.sampled_from(found)) for name, found in values(kind, True, False).items())
    )
    data = st.fixed_dictionaries(needed, optional=good)
    return st.builds(lambda columns, any_one: event((kind, {}, columns | dict([any_one]))), data, one)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(message=st.sampled_from(EventKind).flatmap(mixed))
async def test_they_agree_however_columns_are_mixed(accepts: Judge, message: dict[str, Any]):
    assert fits(message) == accepts(message)
