"""An outage is logged when it begins, once a minute while it lasts, and when it is over."""

import logging

import pytest

from onboarding_worker.core.foundation.outage_log import Outage

log = logging.getLogger("tests.outage")
EVERY_SECONDS, FORGOTTEN_SECONDS = 60.0, 30.0


@pytest.fixture
def outage(caplog: pytest.LogCaptureFixture) -> Outage:
    caplog.set_level(logging.INFO, logger=log.name)
    return Outage(log)


def test_it_is_logged_once_and_again_after_a_minute(outage, caplog):
    for seconds in (0.0, 1.0, EVERY_SECONDS - 1, EVERY_SECONDS, EVERY_SECONDS + 1):
        outage.lasts("unreachable", seconds)
    assert caplog.messages == ["unreachable", "unreachable"]


def test_another_reason_is_logged_at_once(outage, caplog):
    outage.lasts("unreachable", 0.0)
    outage.lasts("starting", 0.1)
    assert caplog.messages == ["unreachable", "starting"]


def test_other_words_of_the_server_for_the_same_outage_are_not_logged_before_a_minute(outage, caplog):
    for seconds, why in enumerate(["refused", "starting up", "refused", "not yet accepting connections"]):
        outage.lasts("unreachable", float(seconds), why=why)
    outage.lasts("unreachable", EVERY_SECONDS, why="starting up")
    assert caplog.messages == ["unreachable: refused", "unreachable: starting up"]


def test_it_lasts_from_the_first_failure_to_the_last_until_it_is_over(outage):
    assert outage.lasted == 0
    for seconds in (5.0, 7.0, 9.0):
        outage.lasts("unreachable", seconds, why=f"why at {seconds}")
    assert (outage.lasted, outage.last_at, outage.why) == (4.0, 9.0, "why at 9.0")
    outage.over("back", 10.0)
    assert outage.lasted == 0
    outage.lasts("unreachable", 20.0)
    assert outage.lasted == 0


def test_it_is_over_when_each_kind_of_step_that_failed_has_succeeded(outage, caplog):
    """While nothing can be written, reading succeeds."""
    for second in range(0, 10, 2):
        outage.lasts("unreachable", float(second), step="write")
        outage.over("back", second + 1.0, step="read")
    assert caplog.messages == ["unreachable"]
    outage.over("back", 10.0, step="write")
    assert caplog.messages == ["unreachable", "back"]


def test_a_kind_of_step_that_has_not_failed_for_a_while_does_not_keep_it_going(outage, caplog):
    outage.lasts("unreachable", 0.0, step="write")
    outage.over("back", FORGOTTEN_SECONDS - 1, step="read")
    assert caplog.messages == ["unreachable"]
    outage.over("back", FORGOTTEN_SECONDS, step="read")
    assert caplog.messages == ["unreachable", "back"]


@pytest.mark.parametrize(("level", "end"), [("ERROR", "WARNING"), ("WARNING", "WARNING"), ("INFO", "INFO")])
def test_its_end_is_shown_wherever_its_beginning_is_and_is_no_error(caplog, level, end):
    """A `run` shows warnings and errors."""
    caplog.set_level(logging.INFO, logger=log.name)
    outage = Outage(log, getattr(logging, level))
    outage.lasts("unreachable", 0.0)
    outage.over("back")
    assert [record.levelname for record in caplog.records] == [level, end]


def test_its_end_is_logged_once(outage, caplog):
    outage.lasts("unreachable", 0.0)
    outage.over("back")
    outage.over("back")
    assert caplog.messages == ["unreachable", "back"]


def test_without_an_outage_no_end_is_logged(outage, caplog):
    outage.over("back")
    assert caplog.messages == []
