"""How long before their calls rows get their slots, as the last flushes show."""

from datetime import timedelta

from worker.engine.dispatch.flush_times import FlushTimes


def test_slots_begin_later_where_more_than_one_of_the_last_flushes_was_long(subtests):
    cases = [
        ([], 0),
        ([10, 20, 30, 50], 0),
        ([10, 400, 10], 0),  # one long one among short ones
        ([60, 400, 10], 60),
        ([300, 400, 350], 350),
        ([400, 400, *[10] * 7], 0),  # long ones are forgotten
        ([20_000, 20_000], 5_000),
    ]
    for flushes, lead in cases:
        with subtests.test(flushes=flushes):
            flush_times = FlushTimes()
            for milliseconds in flushes:
                flush_times.add(timedelta(milliseconds=milliseconds))

            assert flush_times.lead == timedelta(milliseconds=lead)
            assert flush_times.longest <= timedelta(seconds=5)
