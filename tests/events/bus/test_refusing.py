"""What is kept of a refused message, and what of it is put back. Pure."""

import json
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from onboarding_worker.core.model.customers import FieldProblem
from onboarding_worker.events.bus.dead_lettering import (
    LARGEST_HEADERS,
    LONGEST_PROBLEMS,
    MOST_PROBLEMS,
    message_in,
    problems_in,
    refused_message,
)
from onboarding_worker.events.bus.messages import Entry
from onboarding_worker.events.cloudevents import LARGEST

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
WHY = "why"
MESSAGE = Entry(b"{}", "application/json", "utf-8", {"trace": "t-1"}, {"message_id": "m"})


def put_back(message: Entry, **more: Any) -> Entry:
    content = refused_message(message, WHY, "requests", **more).content
    assert content is not None
    return message_in(json.loads(json.dumps(content)))


def test_a_message_is_put_back_as_it_came():
    odd = {
        "bytes": b"\xff",
        "at": NOW,
        "exactly": Decimal("1.5"),
        "in": {"a": [1, None, True, -(2**62)]},
        "half": "\ud800",
    }
    for message in (MESSAGE, replace(MESSAGE, headers=odd), Entry(b"\x80\xff"), Entry(b"", "text/plain", "latin-1")):
        assert put_back(message) == message


def test_a_stranger_cannot_have_us_deliver_to_other_queues():
    given = {"CC": ["payments"], "BCC": ["payroll"], "trace": "t-1"}
    assert put_back(replace(MESSAGE, headers=given)).headers == {"trace": "t-1"}


def test_what_the_broker_adds_to_a_message_is_not_a_part_of_it():
    counts = {"x-death": [], "x-delivery-count": 3, "x-acquired-count": 4}
    for added in (counts, {"x-first-death-queue": "q", "x-last-death-queue": "q", "x-last-death-reason": "rejected"}):
        delivered = replace(MESSAGE, headers=MESSAGE.headers | added)
        assert put_back(delivered) == MESSAGE
        assert refused_message(delivered, WHY, "q").identity == refused_message(MESSAGE, WHY, "q").identity


def test_a_user_that_rabbitmq_would_compare_with_our_login_is_left_out():
    message = replace(MESSAGE, properties={"user_id": "app", "expiration": "60000", "type": "customer.erased"})
    assert put_back(message, vouched={"x-sender": "app 12"}).properties == {"type": "customer.erased"}
    assert put_back(message, vouched={"x-sender": "app 12"}).headers == {"trace": "t-1", "x-sender": "app 12"}


def test_problems_are_listed_with_their_column_and_bounded():
    problems = tuple(FieldProblem(f"column{n}", "x" * 300, "write it otherwise") for n in range(MOST_PROBLEMS + 1))
    listed = problems_in(refused_message(MESSAGE, "why", "q", problems=problems).content)
    assert listed.startswith("column0: xxx")
    assert len(listed) == LONGEST_PROBLEMS
    short = problems_in(refused_message(MESSAGE, "why", "q", problems=problems[:1]).content)
    assert short.endswith("x (write it otherwise)")
    half = problems_in(refused_message(MESSAGE, "why", "q", problems=(FieldProblem("\ud800", "x"),)).content)
    assert half == "?: x"


def test_a_problem_of_the_whole_event_is_listed_without_the_colon_of_a_column():
    of_all = (FieldProblem("", "it has no column that is new", "give one"),)
    assert (
        problems_in(refused_message(MESSAGE, "why", "q", problems=of_all).content)
        == "it has no column that is new (give one)"
    )


TOO_LARGE = {
    "a body": replace(MESSAGE, body=b"x" * (LARGEST + 1)),
    "headers": replace(MESSAGE, headers={"a": "x" * LARGEST_HEADERS}),
    "levels": replace(MESSAGE, headers={"a": json.loads("[" * 100 + "]" * 100)}),
}


@pytest.mark.parametrize("what", TOO_LARGE)
def test_of_a_message_that_is_too_large_only_its_size_and_reason_are_kept(what: str):
    message = TOO_LARGE[what]
    found = refused_message(message, WHY, "requests")
    assert (found.content, found.reason, found.size) == (None, "why", len(message.body))


def test_the_largest_message_is_kept_whole():
    message = replace(MESSAGE, body=b"\xff" * LARGEST)
    assert put_back(message) == message


EVENT = {"type": "onboarding.requested", "data": {"customer_id": "C-1"}}
NAMED = {
    "an event": (json.dumps(EVENT), "C-1"),
    "plain data": ('{"customer_id": " C-1 "}', "C-1"),
    "a number": ('{"customer_id": 17}', "17"),
    "base64": (json.dumps({"data_base64": b64encode(b'{"customer_id": "C-1"}').decode()}), "C-1"),
    "marks before it": ('\ufeff{"customer_id": "C-1"}', "C-1"),
    "another form of the name": ('{"Customer ID": "C-1"}', "C-1"),
    "the list's name": ('{"Kundennummer": "C-1", "customer_id": ""}', "C-1"),
    "a float": ('{"customer_id": 17.0}', "17"),
    "an attribute next to its data": ('{"CUSTOMER_ID": "C-1", "data": {"email": "x"}}', "C-1"),
    "no base64": ('{"data_base64": "\\u00e9"}', ""),
    "an object": ('{"customer_id": {"a": 1}}', ""),
    "half a surrogate pair": ('{"customer_id": "\\ud800"}', ""),
    "no object": ('["C-1"]', ""),
    "too long": (json.dumps({"customer_id": "x" * 2000}), ""),
}


def test_a_refused_event_is_named_by_its_own_id_unless_that_could_be_an_address_or_a_number(subtests):
    for id_, shown in [
        ("order-2026-00017", True),
        ("7c9e", True),
        ("12345678-1234-1234-1234-123456789012", True),
        ("37060000001", False),
        ("2026-11-24", False),
        ("+37060000001", False),
        ("ona@example.org", False),
        ("Ona Petraitė", False),
        ("x" * 65, False),
        (17, False),
    ]:
        with subtests.test(id_=id_, shown=shown):
            message = replace(MESSAGE, body=json.dumps(EVENT | {"id": id_}).encode())
            assert refused_message(message, WHY, "q").event == (id_ if shown else "")


def test_the_customer_of_a_refused_message_is_known_for_erasure(subtests: pytest.Subtests):
    for what in NAMED:
        with subtests.test(what=what):
            body, customer_id = NAMED[what]
            message = replace(MESSAGE, body=body.encode())
            found = refused_message(message, WHY, "q", columns={"Kundennummer": "customer_id"})
            assert found.customer_id == customer_id


def test_each_customer_that_a_refused_message_names_is_known_for_erasure():
    body = json.dumps({"data": {"customer_id": "C-1", "Kundennummer": "C-2"}, "customer_id": "C-1"})
    message = replace(MESSAGE, body=body.encode())
    found = refused_message(message, WHY, "q", columns={"Kundennummer": "customer_id"})
    assert found.named == ["C-1", "C-2"]


def test_the_customer_of_a_refused_task_is_known_too():
    task = Entry(json.dumps([[EVENT], {}, {}]).encode(), "application/json", "utf-8", {"task": "onboarding.request"})
    assert refused_message(task, WHY, "q").customer_id == "C-1"


def test_each_copy_of_a_message_has_the_same_identity_and_no_other_message_has_it():
    by_app = {"x-sender": "app 12"}
    found = refused_message(MESSAGE, WHY, "q", vouched=by_app)
    assert refused_message(put_back(MESSAGE, vouched=by_app), "another", "q").identity == found.identity
    others = [replace(MESSAGE, body=b"[]"), replace(MESSAGE, headers={}), replace(MESSAGE, content_type=None)]
    others.append(replace(MESSAGE, properties={"type": "customer.erased"}))
    identities = [refused_message(other, WHY, "q", vouched=by_app).identity for other in others]
    of_others = [refused_message(MESSAGE, WHY, "q", vouched=who).identity for who in (None, {"x-sender": "crm 34"})]
    assert len({found.identity, *identities, *of_others}) == 7
