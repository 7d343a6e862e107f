"""What the events of changes hold."""

import pytest

from onboarding_worker.core.database.tables import Outbox
from onboarding_worker.core.upkeep.expired_sessions import ExpiryCounts
from tests.core.upkeep.test_expired_sessions import invited, let_expire, scan
from tests.stored.shelf import customer
from tests.stored.webhook_feed import APPROVED, DENIED

__all__ = ["scan"]


def events(shelf):
    return [(row.kind, row.data) for row in shelf.rows(Outbox)]


def test_a_session_that_ended_unused_is_told_and_the_message_with_the_next_link_is_called_so(shelf, scan):
    invited(shelf)
    let_expire(shelf)
    assert scan() == ExpiryCounts(reissued=1)
    assert events(shelf)[-1][0] == "session.expired"
    shelf.issue()
    shelf.send()
    assert [data["kind"] for kind, data in events(shelf) if kind == "invitation.sent"] == ["invitation", "new_link"]


@pytest.mark.both_databases
def test_two_sweeps_in_parallel_tell_the_end_of_each_session_once(shelf, scan, in_parallel):
    invited(shelf, *(customer(f"C{number}") for number in range(20)))
    let_expire(shelf)
    in_parallel(scan, times=4)
    assert len([kind for kind, _ in events(shelf) if kind == "session.expired"]) == 20


def test_a_verdict_is_published_and_again_where_it_changes(ona, feed):
    feed.receive(APPROVED)
    ona.clock.advance(hours=1)
    feed.receive(DENIED)
    verdicts = [(kind, data.get("result")) for kind, data in events(ona)][-2:]
    assert verdicts == [("session.completed", "approved"), ("session.completed", "denied")]
