"""What a burst is logged as: the counts since the last line, once in a while."""

import logging

from worker.core.foundation.logs import EVERY_SECONDS, CountLog


def test_a_line_has_what_was_counted_since_the_line_before():
    lines = []
    counts = CountLog(logging.getLogger("worker.test"), lambda counted: lines.append(dict(counted)) or "")
    counts.add(["taken", "taken"], 1.0)
    counts.add(["taken", "refused"], 2.0)  # too soon for another line
    counts.write_if_due(1.0 + EVERY_SECONDS)
    counts.write_if_due(3 * EVERY_SECONDS)  # nothing has come
    assert lines == [{"taken": 2}, {"taken": 1, "refused": 1}]
