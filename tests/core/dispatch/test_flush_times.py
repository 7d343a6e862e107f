"""How long before their calls rows get their slots, as the last flushes show."""

from datetime import timedelta

from worker.core.dispatch.flush_times import FlushTimes


def test_slots_begin_later_where_most_of_the_last_flushes_were_long(subtests):
    cases = [
        ([], 0),
        ([10, 20, 30, 200], 0),
        ([10, 900, 10], 0),  # one long one among short ones
        ([600, 900, 10], 400),  # a call may be 200 ms late
        ([300, 400, 350], 150),
        ([400, 400, *[10] * 7], 0),  # long ones are forgotten
        ([20_000, 20_000], 4_800),
    ]
    for flushes, lead in cases:
        with subtests.test(flushes=flushes):
            flush_times = FlushTimes()
            for milliseconds in flushes:
                flush_times.add(timedelta(milliseconds=milliseconds))

            assert flush_times.lead == timedelta(milliseconds=lead)
            assert flush_times.longest <= timedelta(seconds=5)
