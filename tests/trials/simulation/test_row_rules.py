"""Each rule of the rows finds a row that breaks it."""

import pytest
import sqlalchemy as sa

from trials.simulation.database import databases, wrong_rows
from trials.simulation.plan import Act, Person, Plan
from trials.simulation.play import Simulation
from trials.simulation.row_rules import QUERIES

# What makes the rows wrong, of two lists that want the same customers, whose links nobody has opened yet.
SPOILT = {
    "followers_wait_for_a_row_that_goes_on": "UPDATE job SET purpose = 'x' WHERE leader_id IS NULL",
    "each_row_waits_for_a_time_or_a_worker": "UPDATE job SET state = 'waiting' WHERE leader_id IS NULL",
    "each_message_waits_for_a_time_or_a_worker": "UPDATE invitation SET state = 'waiting'",
    "cancelled_lists_have_no_open_rows": "UPDATE batch SET cancelled_at = created_at",
    "a_pause_reaches_each_row": "UPDATE job SET priority = 110",
    "a_pause_reaches_each_message": "UPDATE invitation SET priority = 110",
    "each_reason_is_of_its_state": "UPDATE job SET reason = 'quiet_hours' WHERE leader_id IS NULL",
    "calls_are_under_way_under_a_lease": "UPDATE attempt SET closed_at = NULL WHERE invitation_id IS NULL",
    "hand_overs_are_under_way_under_a_lease": "UPDATE attempt SET closed_at = NULL WHERE invitation_id IS NOT NULL",
    "each_session_is_of_a_row_of_its_customer": "UPDATE session SET purpose = 'another'",
    "each_message_is_of_a_row_of_its_customer": "UPDATE invitation SET batch_id = batch_id + 1",
    "who_is_invited_has_a_session": "UPDATE session SET state = 'superseded'",
    "who_has_a_session_gets_a_message": "UPDATE job SET state = 'issued' WHERE leader_id IS NULL",
    "each_session_is_looked_at_when_it_ends": "UPDATE session SET check_at = NULL",
}


@pytest.fixture(scope="module")
def url():
    people = tuple(Person(number, "kyc", finishes=False) for number in range(3))
    plan = Plan(7, people, hosts=1, rate=0, capped=False, acts=(Act(1.0, "another_list"), Act(2.0, "another_list")))
    with databases() as made:
        simulation = Simulation(plan, made)
        simulation.play(until=200.0)
        yield simulation.settings.database.url


def test_each_rule_is_tried():
    assert SPOILT.keys() == QUERIES.keys()


@pytest.mark.parametrize("rule", SPOILT)
def test_a_row_that_breaks_a_rule_is_found(url: str, rule: str):
    with sa.create_engine(url, poolclass=sa.NullPool).connect() as connection:
        assert list(wrong_rows(connection)) == []
        connection.exec_driver_sql(SPOILT[rule])
        assert rule in {wrong.partition(":")[0] for wrong in wrong_rows(connection)}
