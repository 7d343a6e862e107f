"""What a line of the log is about; and what a burst is logged as: the counts since the last line, once in a while."""

import logging
import re

import pytest

from onboarding_worker.core.foundation.logs import OURS, CountLog, about, ids_of, logged


def a_line(logger="onboarding_worker.test", **named):
    return logging.makeLogRecord({"name": logger, **named})


def test_a_line_has_the_ids_of_the_blocks_around_it_in_one_order():
    line = a_line()
    with about(batch=7, account="kyc"):
        with about(job=3, batch=8):
            assert [*ids_of(line).items()] == [("account", "kyc"), ("batch", 8), ("job", 3)]
        assert ids_of(line) == {"account": "kyc", "batch": 7}
    assert ids_of(line) == {}


@pytest.mark.parametrize(
    ("logger", "named"),
    [(OURS, {"batch": 9}), (f"{OURS}.test", {"batch": 9}), (f"{OURS}s", {}), (f"aiohttp.{OURS}", {})],
)
def test_only_a_line_of_ours_names_ids_itself_and_a_library_s_has_those_of_the_block(logger, named):
    with about(batch=7, account="kyc"):
        assert ids_of(a_line(logger, batch=9, customer="C-1")) == {"account": "kyc", "batch": 7} | named


@pytest.fixture
def lines():
    return []


@pytest.fixture
def counts(lines):
    return CountLog(logging.getLogger("onboarding_worker.test"), lambda counted: lines.append(dict(counted)) or "")


def test_a_line_has_what_was_counted_since_the_line_before(counts, lines, caplog):
    caplog.set_level(logging.INFO, "onboarding_worker.test")
    counts.add(["taken", "taken"], 1.0)
    counts.add(["taken", "refused"], 2.0)  # too soon for another line
    for now in (11.0, 30.0):  # at the second one nothing has come
        counts.write_if_due(now)
        assert lines == [{"taken": 2}, {"taken": 1, "refused": 1}]
    assert [re.findall(r"\d+", record.getMessage()) for record in caplog.records] == [["2"], ["4"]]  # in all


async def test_what_was_counted_last_is_logged_at_the_end(counts, lines):
    async with logged(counts):
        counts.add(["taken"], 1.0)
        counts.add(["refused"], 2.0)
        assert lines == [{"taken": 1}]
    assert lines == [{"taken": 1}, {"refused": 1}]
