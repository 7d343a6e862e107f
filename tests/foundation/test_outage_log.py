"""What lasts is said once, once a minute while it lasts, and when it is over."""

import logging

import pytest

from worker.foundation.outage_log import EVERY_SECONDS, Outage

log = logging.getLogger("tests.outage")


@pytest.fixture
def outage(caplog: pytest.LogCaptureFixture) -> Outage:
    caplog.set_level(logging.INFO, logger=log.name)
    return Outage(log)


def test_it_is_said_once_and_again_after_a_minute(outage, caplog):
    for seconds in (0.0, 1.0, EVERY_SECONDS - 1, EVERY_SECONDS, EVERY_SECONDS + 1):
        outage.lasts("away", seconds)
    assert caplog.messages == ["away", "away"]


def test_another_reason_is_news(outage, caplog):
    outage.lasts("away", 0.0)
    outage.lasts("starting", 0.1)
    assert caplog.messages == ["away", "starting"]


def test_its_end_is_said_once(outage, caplog):
    outage.lasts("away", 0.0)
    outage.over("back")
    outage.over("back")
    assert caplog.messages == ["away", "back"]


def test_what_was_never_away_is_not_said_to_be_back(outage, caplog):
    outage.over("back")
    assert caplog.messages == []
