"""An outage is logged when it begins, once a minute while it lasts, and when it is over."""

import logging

import pytest

from worker.foundation.outage_log import EVERY_SECONDS, Outage

log = logging.getLogger("tests.outage")


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


def test_its_end_is_logged_once(outage, caplog):
    outage.lasts("unreachable", 0.0)
    outage.over("back")
    outage.over("back")
    assert caplog.messages == ["unreachable", "back"]


def test_without_an_outage_no_end_is_logged(outage, caplog):
    outage.over("back")
    assert caplog.messages == []
