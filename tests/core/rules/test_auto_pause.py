"""A batch is paused automatically when too many of its messages bounce, and not for a few."""

from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.core.rows.message_rows import BounceCounts, pause_reason
from onboarding_worker.core.rules.contact import PauseRule

RULE = PauseRule(percent=10, least=50)


def test_it_takes_more_than_a_tenth_of_at_least_fifty():
    cases = [
        (BounceCounts(0, 0, 0), False),
        (BounceCounts(49, 49, 0), False),
        (BounceCounts(50, 5, 0), False),
        (BounceCounts(50, 6, 0), True),
        (BounceCounts(50, 3, 3), True),
        (BounceCounts(1000, 50, 50), False),
        (BounceCounts(1000, 50, 51), True),
    ]
    assert [
        (counts, got)
        for counts, pauses in cases
        if (got := pause_reason([counts], RULE, batch_id=8) is not None) is not pauses
    ] == []


def test_the_last_hour_shows_what_many_that_arrived_would_hide():
    since_resumed, last_hour = BounceCounts(40_000, 100, 900), BounceCounts(1_000, 0, 800)
    assert pause_reason([since_resumed], RULE, batch_id=8) is None
    assert pause_reason([since_resumed, last_hour], RULE, batch_id=8)


def test_the_reason_says_what_happened_and_what_to_do():
    assert pause_reason([BounceCounts(60, 2, 5)], RULE, batch_id=8) == (
        "7 of 60 messages were refused (2) or bounced (5), more than 10 %:"
        " check the addresses, then run `onboard resume 8`"
    )


any_counts = st.tuples(st.integers(0, 2000), st.floats(0, 1), st.floats(0, 1)).map(
    lambda drawn: BounceCounts(drawn[0], int(drawn[0] * drawn[1] * drawn[2]), int(drawn[0] * drawn[1] * (1 - drawn[2])))
)


@given(any_counts, st.integers(1, 100), st.integers(1, 99))
def test_one_more_that_comes_back_never_lets_a_paused_batch_go_on(counts, least, percent):
    rule = PauseRule(percent, least)
    worse = BounceCounts(counts.tried + 1, counts.refused + 1, counts.bounced)
    assert pause_reason([counts], rule, batch_id=8) is None or pause_reason([worse], rule, batch_id=8) is not None


@given(any_counts, st.integers(1, 99))
def test_it_pauses_exactly_where_the_share_is_greater(counts, percent):
    failed = counts.refused + counts.bounced
    expected = counts.tried >= 1 and failed / counts.tried > percent / 100 + 1e-9
    assert (pause_reason([counts], PauseRule(percent, least=1), batch_id=8) is not None) is expected
