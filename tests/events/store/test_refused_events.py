"""Refused messages are stored encrypted, once, and go when their time is over or their customer is erased."""

from dataclasses import replace
from datetime import timedelta

import pytest

from onboarding_worker.core.database.tables import RefusedEvent
from onboarding_worker.core.foundation.keyring import Keyring, new_key
from onboarding_worker.events.store import refused_events
from onboarding_worker.events.store.refused_events import RefusedEvents, RefusedMessage, erase_refused
from onboarding_worker.lists.store.new_rows import bury

FORTNIGHT = timedelta(days=14)


@pytest.fixture
def refused(shelf):
    return RefusedEvents(shelf.database, shelf.keyring)


def message(number=1, *, customer_id="C-1", queue="requests", reason="it is no event", **content):
    content = {"body": "cXVpcmlu", "customer": "Quirin", **content}
    return RefusedMessage(queue, f"{number:064}", reason, "", "", 9, customer_id, content)


def test_a_refused_message_is_found_by_its_id_with_its_content(shelf, refused):
    (id_,) = refused.keep([message()], now=shelf.clock())
    found = refused.find(id_)
    assert (found.queue, found.reason, found.content["customer"]) == ("requests", "it is no event", "Quirin")
    assert (found.refused_at, found.due_at) == (shelf.clock(), shelf.clock() + FORTNIGHT)
    assert "Quirin" not in repr(found)
    (row,) = shelf.rows(RefusedEvent)
    assert b"Quirin" not in row.encrypted
    assert "C-1" not in str(row)


@pytest.mark.parametrize("final", [True, False], ids=["by a person", "by an event"])
def test_of_a_message_about_an_erased_customer_nothing_is_kept_unless_a_request_may_follow(shelf, refused, final):
    with shelf.database.write() as connection:
        bury(connection, shelf.keyring, "C-1", shelf.clock(), final=final)
    erased, other = refused.keep([message(), message(2, customer_id="C-2")], now=shelf.clock())
    found = refused.find(erased)
    assert (found.content is None, found.reason) == (final, "it is no event")
    assert bool(found.why_not) is final
    assert refused.find(other).content is not None


def test_a_message_that_is_refused_again_is_one_message_with_the_newer_reason(shelf, refused):
    first = refused.keep([message(), message(2), message()], now=shelf.clock())
    shelf.clock.advance(hours=1)
    assert refused.keep([message(reason="another")], now=shelf.clock()) == first[2:]
    assert first[0] == first[2] != first[1]
    assert refused.totals() == {"requests": 2}
    again = refused.find(first[0])
    assert (again.reason, again.due_at, again.refusals) == ("another", shelf.clock() + FORTNIGHT, 3)
    assert refused.keep([message(queue="onboarding.requests")], now=shelf.clock()) != first[2:]


def test_who_puts_a_message_back_does_not_remove_a_newer_refusal_of_it(shelf, refused):
    (id_,) = refused.keep([message()], now=shelf.clock())
    seen = refused.find(id_)
    refused.keep([message()], now=shelf.clock())  # it was put back, and refused again at once
    refused.remove(seen)
    assert refused.find(id_) is not None
    refused.remove(refused.find(id_))
    assert refused.find(id_) is None


@pytest.mark.both_databases
def test_messages_come_oldest_first_and_in_parts(shelf, refused, monkeypatch):
    monkeypatch.setattr(refused_events, "CHUNK", 2)
    for number in range(5):
        refused.keep([message(number)], now=shelf.clock())
        shelf.clock.advance(seconds=number % 2)
    until = shelf.clock()
    shelf.clock.advance(seconds=1)
    refused.keep([message(9)], now=shelf.clock())
    found = list(refused.all_until(until))
    assert len(found) == len({one.id for one in found}) == 5
    assert [one.refused_at for one in found] == sorted(one.refused_at for one in found)
    assert [one.id for one in refused.oldest("requests", most=1)] == [found[0].id]


@pytest.mark.both_databases
def test_a_message_goes_when_its_time_is_over(shelf, refused):
    refused.keep([message()], now=shelf.clock())
    shelf.clock.advance(days=13)
    refused.keep([message(2)], now=shelf.clock())
    assert refused.remove_due(now=shelf.clock()) == 0
    shelf.clock.advance(days=1)
    assert refused.remove_due(now=shelf.clock()) == 1
    assert refused.totals() == {"requests": 1}


@pytest.mark.both_databases
def test_messages_of_a_customer_are_found_without_storing_the_id(shelf, refused):
    refused.keep([message(customer_id="")], now=shelf.clock())  # before its key was one of ours
    refused.keep([message(), message(2, customer_id="C-2"), message(3, customer_id="")], now=shelf.clock())
    with shelf.database.write() as connection:
        assert erase_refused(connection, shelf.keyring, ["C-1", "C-3"]) == 1
    assert refused.totals() == {"requests": 2}


@pytest.mark.both_databases
@pytest.mark.parametrize("erased", ["C-1", "C-2"])
def test_a_message_that_names_two_customers_goes_with_either(shelf, refused, erased):
    both = replace(message(), further_ids=["C-2"])
    (id_,) = refused.keep([both], now=shelf.clock())
    refused.keep([replace(message(2, customer_id="C-3"), further_ids=["C-4"])], now=shelf.clock())
    assert refused.find(id_).content["customer"] == "Quirin"
    with shelf.database.write() as connection:
        assert erase_refused(connection, shelf.keyring, [erased]) == 1
        bury(connection, shelf.keyring, erased, shelf.clock(), final=True)
    assert refused.totals() == {"requests": 1}
    (again,) = refused.keep([both], now=shelf.clock())
    assert refused.find(again).content is None


def test_a_message_that_was_too_large_has_a_reason_and_no_content(shelf, refused):
    (id_,) = refused.keep([RefusedMessage("q", "1", "too large", "", "", 10**6, "", None)], now=shelf.clock())
    found = refused.find(id_)
    assert (found.content, found.size) == (None, 10**6)
    assert "too large" in found.why_not


def test_a_key_that_is_lost_hides_the_content_of_these_messages_alone(shelf, refused):
    other = RefusedEvents(shelf.database, Keyring([new_key()]))
    refused.keep([message()], now=shelf.clock())
    other.keep([message(2)], now=shelf.clock())
    found = {one.content is None: one.why_not for one in refused.oldest("requests", most=9)}
    assert found.keys() == {True, False}
    assert "no key of the ring decrypts refused event" in found[True]
