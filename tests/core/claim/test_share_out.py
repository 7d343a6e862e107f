"""How an account's slots are shared: events before batches, a share for batches, and no slot left unused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.core.claim.claims import BATCH_SHARE, share_out

counts = st.integers(0, 300)
jitters = st.floats(0, 1, exclude_max=True)


def shared(slots, jitter, events, batches):
    """The kinds of the rows that get slots, and how often each function was called."""
    queues = {"event": events, "batch": batches}
    asked = {"event": 0, "batch": 0}

    def queue(kind):
        def some(most):
            assert most > 0
            asked[kind] += 1
            claimed = min(most, queues[kind])
            queues[kind] -= claimed
            return [kind] * claimed

        return some

    rows, _, _ = share_out(slots, jitter, soon=slots, events=queue("event"), batches=queue("batch"))
    return rows, asked


@given(st.integers(1, 300), jitters, counts, counts)
def test_no_slot_is_left_while_a_row_waits_and_none_is_given_twice(slots, jitter, events, batches):
    rows, _ = shared(slots, jitter, events, batches)
    assert len(rows) == min(slots, events + batches)
    assert rows.count("event") <= events
    assert rows.count("batch") <= batches


@given(st.integers(1, 300), jitters, counts, counts)
def test_batches_have_their_share_and_events_all_else(slots, jitter, events, batches):
    rows, _ = shared(slots, jitter, events, batches)
    kept = min(int(slots * BATCH_SHARE + jitter), slots)
    assert rows.count("batch") >= min(kept, batches)
    assert rows.count("event") >= min(slots - kept, events)


@given(st.integers(1, 300), jitters, counts)
def test_with_only_batches_waiting_each_is_asked_no_more_than_once(slots, jitter, batches):
    _, asked = shared(slots, jitter, 0, batches)
    assert asked["event"] <= 1
    assert asked["batch"] == 1


@given(st.integers(1, 300), st.integers(0, 300), jitters, counts, counts)
def test_later_slots_go_to_batches_only_by_their_share_and_only_when_events_wait(slots, soon, jitter, events, batches):
    soon = min(soon, slots)
    queues = {"event": events, "batch": batches}

    def queue(kind):
        def some(most):
            claimed = min(most, queues[kind])
            queues[kind] -= claimed
            return [kind] * claimed

        return some

    rows, more, _ = share_out(slots, jitter, soon=soon, events=queue("event"), batches=queue("batch"))
    kept = min(int(slots * BATCH_SHARE + jitter), slots)
    crowded = events >= slots - kept
    assert rows.count("batch") <= (max(kept, soon) if crowded else max(soon - events, 0))
    assert rows.count("event") >= min(slots - max(kept, soon), events)
    left = queues["event"] + queues["batch"]
    assert more or not left


def test_events_come_first():
    assert shared(10, 0.0, 30, 30)[0] == ["event"] * 8 + ["batch"] * 2


def test_single_slots_add_up_to_the_share():
    first = [shared(1, step / 100, 9, 9)[0] for step in range(100)]
    assert first.count(["batch"]) == round(100 * BATCH_SHARE)


@pytest.mark.parametrize(
    ("events", "batches", "more"),
    [
        (0, 9, False),
        (0, 10, True),
        (3, 6, False),
        (3, 7, True),
        (8, 1, False),
        (8, 2, True),
        (9, 0, False),
        (10, 0, True),
        (9, 1, True),
        (11, 0, True),
    ],
)
def test_more_rows_may_wait_only_where_all_slots_are_given(events, batches, more):
    waiting = {"event": events, "batch": batches}

    def queue(kind):
        def some(most):
            found = min(most, waiting[kind])
            waiting[kind] -= found
            return [kind] * found

        return some

    assert share_out(10, 0.0, soon=10, events=queue("event"), batches=queue("batch"))[1] is more
