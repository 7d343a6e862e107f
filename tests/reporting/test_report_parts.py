"""The parts of the report page that are arithmetic: groups, headline, time line."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.reporting.html_report import HEIGHT, timeline
from onboarding_worker.reporting.operation_report import state_in_words
from onboarding_worker.reporting.row_groups import RowNumbers, headline, without_ids
from onboarding_worker.reporting.store.spending import MOST_STEPS

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def test_a_text_without_its_ids_is_the_same_for_all_rows_with_the_same_problem():
    cases = {
        "session 3f1c2b9a-0d4e-4f6a-8b7c-1234567890ab ACTIVE": "session … ACTIVE",
        "row waits until 2026-11-20T12:00:00Z": "row waits until …",
        "scanRef 01JZX0Q2M7T4N8YB6C3D5F9HKV is live": "scanRef … is live",
        "request 1234567 failed": "request … failed",
        "HTTP 400: lastName": "HTTP 400: lastName",
        "the same customer as row 12": "the same customer as row 12",
        "country: 7 characters that are not a country code": "country: 7 characters that are not a country code",
        "messages_per_customer": "messages_per_customer",
    }
    assert {text: without_ids(text) for text in cases} == cases


@given(st.sets(st.integers(1, 300)))
def test_row_numbers_are_kept_whole_as_ranges(rows):
    kept = RowNumbers()
    for row in sorted(rows):
        kept.add(row)
    read = set()
    for part in filter(None, str(kept).split(", ")):
        first, _, last = part.partition("-")
        read |= set(range(int(first), int(last or first) + 1))
    assert read == rows
    assert kept.count == len(rows)
    assert kept.ranges <= len(rows)


def facts(stopped=None, results=None, **rows):
    return {
        "rows": {"total": sum(rows.values()), **rows},
        "accounts": {"kyc": {"stopped": stopped}},
        "results": results or {},
    }


def test_the_headline_of_a_batch_that_is_done_says_so():
    found = headline(facts(invited=4, completed=6, duplicate=2, results={"approved": 5, "denied": 1}))
    assert found.sentence == "10 of 12 rows are invited; nothing is stuck."
    finished = "6 customers have finished (5 approved, 1 denied)."
    assert found.rest == (finished, "2 rows have the customer of an earlier row.")
    assert found.good


def test_a_customer_in_review_has_not_finished():
    found = headline(facts(invited=3, completed=1, results={"approved": 1, "review": 2}))
    assert found.rest == ("1 customer has finished (1 approved).", "2 customers are in review at the provider.")
    assert headline(facts(invited=1, results={"review": 1})).rest == ("1 customer is in review at the provider.",)


def test_the_headline_names_the_rows_that_need_a_person_and_stopped_accounts():
    found = headline(facts(stopped="HTTP 401", invited=17, held=3, failed=1, rejected=9, waiting=5))
    assert found.sentence == (
        "17 of 35 rows are invited; 3 rows wait for a decision, 10 rows wait for a correction; 1 account is stopped."
    )
    assert found.rest == ("5 rows wait for a session or a message.",)
    assert not found.good


def test_a_customer_who_lapsed_without_a_message_is_not_counted_as_invited():
    found = headline(facts(lapsed=3, invited=1) | {"lapsed_unsent": 2})
    assert found.sentence == "2 of 4 rows are invited; 1 row waits for a decision, 2 rows wait for a correction."


def test_a_customer_who_was_invited_before_the_cancel_is_counted_as_invited():
    found = headline(facts(cancelled=4) | {"cancelled_out": 3})
    assert found.sentence.startswith("3 of 4 rows are invited")


def test_nothing_over_time_is_no_chart():
    assert timeline({}) is None
    assert timeline({"invited": [(NOON, 900)]}) is None


@given(
    st.lists(st.tuples(st.integers(0, 50_000), st.integers(1, 500)), min_size=2, max_size=40, unique_by=lambda p: p[0])
)
def test_every_row_is_in_the_chart_once_and_the_lines_only_rise(points):
    series = sorted((NOON + timedelta(minutes=minute), number) for minute, number in points)
    chart = timeline({"invited": series, "finished": series[:1]})
    assert chart is not None
    for line, given_ in zip(chart["lines"], (series, series[:1]), strict=True):
        assert line["numbers"][-1] == line["total"] == sum(number for _, number in given_)
        assert list(line["numbers"]) == sorted(line["numbers"])
        assert line["path"].startswith(f"M0 {HEIGHT}L")
    assert len(chart["steps"]) <= MOST_STEPS
    assert chart["steps"][-1] > series[-1][0]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({}, "working"),
        (
            {"next_call_at": "T", "used_up": "its limit of 2/hour"},
            "waiting until T: it has used up its limit of 2/hour",
        ),
        ({"next_call_at": "T", "used_up": "its limit of 2/hour", "no_answer": "refused"}, "silent: no answer at the l"),
    ],
)
def test_an_account_whose_limit_is_used_up_is_not_said_to_work(found, said):
    plain = {"stopped_at": None, "paused_until": None, "no_answer": None}
    assert state_in_words(plain | found).startswith(said)
