"""What a refused message carries, and what it carries no more when it is put back. Pure."""

from datetime import UTC, datetime

from worker.domain.model.customers import FieldProblem
from worker.inbound.bus.dead_lettering import (
    LONGEST_PROBLEMS,
    MOST_PROBLEMS,
    PROBLEMS,
    REASON,
    Refusal,
    dead_headers,
    live_headers,
)

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def test_a_stranger_cannot_have_us_deliver_to_other_queues():
    given = {"CC": ["payments"], "BCC": ["payroll"], "trace": "t-1"}
    assert dead_headers(given, Refusal("why"), NOW).keys() == {"trace", REASON, "x-refused-at"}
    assert live_headers(given) == {"trace": "t-1"}


def test_the_reason_of_an_earlier_refusal_is_not_kept():
    first = dead_headers({}, Refusal("first", (FieldProblem("email", "it is no address"),)), NOW)
    again = dead_headers(first, Refusal("again"), NOW)
    assert again[REASON] == "again"
    assert PROBLEMS not in again
    assert live_headers({**first, "x-death": [], "x-delivery-count": 3}) == {}


def test_problems_are_listed_with_their_column_and_bounded():
    problems = tuple(FieldProblem(f"column{n}", "x" * 300, "write it otherwise") for n in range(MOST_PROBLEMS + 1))
    listed = dead_headers({}, Refusal("why", problems), NOW)[PROBLEMS]
    assert listed.startswith("column0: xxx")
    assert len(listed) == LONGEST_PROBLEMS
    short = dead_headers({}, Refusal("why", problems[:1]), NOW)[PROBLEMS]
    assert short.endswith("x (write it otherwise)")
