"""What a batch has cost, on both databases."""

from datetime import timedelta

import pytest

from onboarding_worker.core.database.tables import Batch, InvitationRow
from onboarding_worker.core.model.customers import Channel, Person
from onboarding_worker.core.model.states import InvitationState
from onboarding_worker.reporting.store.spending import Figures, spending_of
from tests.stored.shelf import customer
from tests.stored.webhook_feed import APPROVED


def test_calls_and_messages_are_counted_by_route_and_over_time(ona, feed, clock):
    batch = ona.row(Batch).id
    before = spending_of(ona.database, batch)
    (facts,) = before.routes.values()
    assert (facts.calls, facts.messages, facts.customers, facts.verified) == ({"kyc": 1}, {"email": 1}, 1, 0)
    assert [number for _, number in before.series["invited"]] == [1]
    assert before.series["finished"] == []
    ((at, _),) = before.series["invited"]
    assert at.utcoffset() == timedelta(0)
    assert at.second == 0
    assert timedelta(0) <= clock() - at < timedelta(minutes=3)

    feed.receive(APPROVED)

    after = spending_of(ona.database, batch)
    (facts,) = after.routes.values()
    assert facts.verified == 1
    assert [number for _, number in after.series["finished"]] == [1]


@pytest.mark.both_databases
def test_a_batch_that_has_done_nothing_has_cost_nothing(shelf):
    spending = spending_of(shelf.database, shelf.add(customer("Ona")))
    assert list(spending.routes.values()) == [Figures(customers=1)]
    assert spending.series == {"invited": [], "finished": []}


def test_a_customer_with_a_mail_and_a_text_is_invited_once(shelf):
    person = Person(email="ona@example.org", phone="+37060000001", first_name="Ona")
    batch = shelf.add(customer("Ona", channel=Channel.BOTH, person=person))
    shelf.issue()
    shelf.send()
    shelf.clock.advance(minutes=10)
    shelf.send(channel="sms")
    assert len(shelf.rows(InvitationRow, state=InvitationState.SENT)) == 2

    points = spending_of(shelf.database, batch).series["invited"]

    assert [number for _, number in points] == [1]
