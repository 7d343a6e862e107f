"""The condition of a pilot: read without surprises, refused at the place, and judged on numbers alone."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.plans.pilot import (
    NAMES,
    BadCondition,
    Bound,
    Condition,
    PilotNumbers,
    judge,
    parse_condition,
    pilot_size,
    read_first,
)

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOURS = timedelta(hours=4)
USUAL = parse_condition("finished >= 50% and bounced <= 3% within 4 hours")


def pilot(size: int = 100, *, unsent: int = 0, open_: int = 100, **numbers: int) -> PilotNumbers:
    return PilotNumbers(size, unsent, open_, numbers)


NAMED = (st.sampled_from(sorted(NAMES)), st.sampled_from([">=", ">", "<=", "<"]))
BOUNDS = st.builds(Bound, *NAMED, st.decimals(0, 999, places=1), st.just(value=False)) | st.builds(
    Bound, *NAMED, st.decimals(0, 100, places=1), st.just(value=True)
)
CONDITIONS = st.builds(
    Condition,
    st.lists(BOUNDS, min_size=1, max_size=4).map(tuple),
    st.integers(1, 1_000_000).map(lambda seconds: timedelta(seconds=seconds)),
)
NUMBERS = st.dictionaries(st.sampled_from(sorted(NAMES)), st.integers(0, 100))


@given(CONDITIONS, st.sampled_from(["", " ", "  "]))
def test_a_written_condition_is_read_back_as_it_was(condition, gap):
    bounds = " and ".join(
        f"{one.name}{gap}{one.operator}{gap}{one.number}{'%' if one.percent else ''}" for one in condition.bounds
    )
    text = f"{bounds} within {condition.within.total_seconds():.0f} s"

    assert parse_condition(text) == condition == parse_condition(str(condition))


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_at_a_place_in_it(text):
    assert 0 <= _place(text) <= len(text)


def _place(text: str) -> int:
    try:
        parse_condition(text)
    except BadCondition as error:
        return error.at
    return 0


def test_a_refusal_points_at_the_place(subtests):
    cases = [
        ("", 0, "one of sent"),
        ("opened >= 3 within 1 h", 0, "one of sent"),
        ("sent > within 1 h", 7, "a number"),
        ("sent 5 within 1 h", 5, ">=, >, <= or <"),
        ("sent >= 5", 9, "within"),
        ("sent >= 5 or held < 3 within 1 h", 10, "within"),
        ("sent >= 200% within 1 h", 11, "100% or less"),
        ("sent >= 5 within soon", 16, "a duration"),
        ("sent >= 5 within 4 hours and held < 2", 16, "to the end"),
        ("sent >= 5 within 0 s", 16, "above zero"),
    ]
    for text, at, expected in cases:
        with subtests.test(text=text):
            with pytest.raises(BadCondition, match=expected) as refused:
                parse_condition(text)
            assert refused.value.at == at
            assert f"\n  {text}\n  {' ' * at}^" in str(refused.value)


def test_the_verdict_waits_for_the_end_of_the_time_while_a_customer_may_still_come_back():
    good = pilot(finished=60, bounced=3)

    assert judge(USUAL, good, sent_at=NOW, now=NOW + HOURS - timedelta(seconds=1)) is None
    verdict = judge(USUAL, good, sent_at=NOW, now=NOW + HOURS)
    assert verdict is not None
    assert verdict.met
    assert verdict.why == "the pilot of 100 customers passed: finished 60 (60.0 %), bounced 3 (3.0 %)"


def test_too_many_bounces_fail_at_once_and_even_before_the_pilot_has_left():
    verdict = judge(USUAL, pilot(bounced=4, unsent=50), sent_at=None, now=NOW)
    assert verdict is not None
    assert not verdict.met
    assert verdict.why == "the pilot of 100 customers did not pass: bounced 4 (4.0 %), wanted bounced <= 3%"


def test_what_was_not_reached_in_time_fails_at_the_end_with_its_number():
    assert judge(USUAL, pilot(finished=49), sent_at=NOW, now=NOW + timedelta(hours=3)) is None
    verdict = judge(USUAL, pilot(finished=49), sent_at=NOW, now=NOW + HOURS)
    assert verdict is not None
    assert not verdict.met
    assert "finished 49 (49.0 %), wanted finished >= 50%" in verdict.why


def test_lower_bounds_alone_are_met_early_and_a_pilot_whose_customers_all_ended_needs_no_time():
    lower = parse_condition("finished >= 10 within 4 hours")
    early = judge(lower, pilot(finished=10), sent_at=NOW, now=NOW)
    assert early is not None
    assert early.met
    ended = judge(USUAL, pilot(finished=100, open_=0), sent_at=NOW, now=NOW)
    assert ended is not None
    assert ended.met


def test_without_a_condition_a_person_decides_once_the_pilot_has_left():
    assert judge(None, pilot(unsent=1), sent_at=None, now=NOW) is None
    verdict = judge(None, pilot(sent=100), sent_at=NOW, now=NOW)
    assert verdict is not None
    assert not verdict.met


@given(CONDITIONS, NUMBERS, NUMBERS, st.integers(1, 100), st.booleans())
def test_a_verdict_that_was_due_stays_when_only_more_customers_bounce(condition, numbers, more, size, late):
    """More of what an upper bound bounds never turns a refusal into a pass."""
    now = NOW + condition.within if late else NOW
    one = judge(condition, PilotNumbers(size, 0, size, numbers), sent_at=NOW, now=now)
    bounded = {bound.name for bound in condition.bounds if bound.is_upper}
    worse = {name: numbers.get(name, 0) + (more.get(name, 0) if name in bounded else 0) for name in NAMES}
    other = judge(condition, PilotNumbers(size, 0, size, worse), sent_at=NOW, now=now)
    only_upper = bounded.isdisjoint({bound.name for bound in condition.bounds if not bound.is_upper})
    if only_upper and one is not None and not one.met:
        assert other is not None
        assert not other.met


@given(CONDITIONS, NUMBERS, st.integers(0, 100))
def test_at_the_end_of_the_time_there_is_always_a_verdict(condition, numbers, size):
    pilot_ = PilotNumbers(size, 0, size, numbers)
    assert judge(condition, pilot_, sent_at=NOW, now=NOW + condition.within) is not None


@given(st.one_of(st.integers(1, 5000).map(str), st.integers(1, 99).map(lambda n: f"{n}%")), st.integers(1, 5000))
def test_a_pilot_has_at_least_one_row_and_never_more_than_asked_for_or_than_there_are(first, rows):
    size = pilot_size(read_first(first), rows)
    assert 1 <= size <= rows
    if first.endswith("%"):
        assert size - 1 < Decimal(first[:-1]) * rows / 100 <= size
    else:
        assert size <= int(first)


def test_another_pilot_than_a_number_or_a_share_is_refused(subtests):
    for text in ["", "0", "0%", "100%", "-3", "2 percent", "1e3", "٣"]:
        with subtests.test(text=text), pytest.raises(ValueError, match="such as 100"):
            read_first(text)
