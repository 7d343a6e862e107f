"""The same customer again: each cell of the table in docs/reference/known-customers.md."""

import re
from pathlib import Path

from onboarding_worker.core.model.states import JobState
from onboarding_worker.lists.known_customers import (
    Becomes,
    Decision,
    KnownRule,
    Standing,
    decide,
    refuses_lists,
    standing_of,
)

PAGE = Path(__file__).parents[2] / "docs/reference/known-customers.md"
LEADS, JOINS, FINISHED = Decision(Becomes.LEADS), Decision(Becomes.JOINS), Decision(Becomes.FINISHED)
HELD, NOTHING = Decision(Becomes.HELD), Decision(Becomes.NOTHING, details=False)
CELLS = {
    (Standing.NEW, KnownRule.SKIP): LEADS,
    (Standing.NEW, KnownRule.REFRESH): LEADS,
    (Standing.NEW, KnownRule.INVITE): LEADS,
    (Standing.NEW, KnownRule.RETURNED): LEADS,
    (Standing.OPEN, KnownRule.SKIP): Decision(Becomes.JOINS, details=False),
    (Standing.OPEN, KnownRule.REFRESH): JOINS,
    (Standing.OPEN, KnownRule.INVITE): JOINS,
    (Standing.OPEN, KnownRule.RETURNED): Decision(Becomes.NOTHING, link=True),
    (Standing.FINISHED, KnownRule.SKIP): Decision(Becomes.FINISHED, details=False),
    (Standing.FINISHED, KnownRule.REFRESH): FINISHED,
    (Standing.FINISHED, KnownRule.INVITE): LEADS,
    (Standing.FINISHED, KnownRule.RETURNED): NOTHING,
    (Standing.FAILED, KnownRule.SKIP): NOTHING,
    (Standing.FAILED, KnownRule.REFRESH): LEADS,
    (Standing.FAILED, KnownRule.INVITE): LEADS,
    (Standing.FAILED, KnownRule.RETURNED): Decision(Becomes.NOTHING, link=True, retry=True),
    (Standing.ENDED, KnownRule.SKIP): NOTHING,
    (Standing.ENDED, KnownRule.REFRESH): LEADS,
    (Standing.ENDED, KnownRule.INVITE): LEADS,
    (Standing.ENDED, KnownRule.RETURNED): Decision(Becomes.NOTHING),
    (Standing.IN_DOUBT, KnownRule.SKIP): NOTHING,
    (Standing.IN_DOUBT, KnownRule.REFRESH): HELD,
    (Standing.IN_DOUBT, KnownRule.INVITE): HELD,
    (Standing.IN_DOUBT, KnownRule.RETURNED): Decision(Becomes.NOTHING),
}


def test_each_cell_of_the_table():
    assert {(standing, rule): decide(rule, standing) for standing in Standing for rule in KnownRule} == CELLS


def test_no_rule_but_invite_asks_a_customer_who_has_finished():
    leading = {rule for rule in KnownRule if decide(rule, Standing.FINISHED).becomes is Becomes.LEADS}
    assert leading == {KnownRule.INVITE}


def test_the_page_has_a_line_for_each_standing_and_a_column_for_each_rule():
    table = re.search(r"\n\| the customer \|(.+?)\n\n", PAGE.read_text("utf-8"), re.DOTALL)
    assert table is not None
    header, _, *lines = table[0].strip().splitlines()
    assert [cell.strip(" `") for cell in header.split("|")[2:-1]] == [
        "skip",
        "refresh",
        "invite",
        "a changed report row",
    ]
    assert len(lines) == len(Standing)


def test_where_a_customer_stands_by_the_rows_so_far():
    cases = [
        ([], Standing.NEW),
        ([JobState.WAITING], Standing.OPEN),
        ([JobState.HELD], Standing.OPEN),
        ([JobState.COMPLETED, JobState.INVITED], Standing.OPEN),
        ([JobState.COMPLETED, JobState.CANCELLED], Standing.FINISHED),
        ([JobState.LAPSED, JobState.FAILED], Standing.FAILED),
        ([JobState.FAILED, JobState.LAPSED], Standing.ENDED),
        ([JobState.CANCELLED], Standing.ENDED),
    ]
    assert [(states, got) for states, standing in cases if (got := standing_of(states)) is not standing] == []


def test_a_purged_result_counts_too():
    assert standing_of([], finished=True) is Standing.FINISHED
    assert standing_of([JobState.FAILED], finished=True) is Standing.FINISHED


def test_a_list_keeps_out_of_the_customers_of_senders_that_reach_only_their_own():
    assert refuses_lists("signup", {"privacy"})
    assert refuses_lists("renamed since", ())
    assert not refuses_lists("privacy", {"privacy"})
    assert not refuses_lists("", ())
