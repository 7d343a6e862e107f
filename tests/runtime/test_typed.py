"""What a Celery command line asks for, as the settings must know it before Celery reads the line: the pool, and the
secrets that its command needs."""

import importlib

import pytest

from worker.settings.needs import BEATING, EVERYTHING


@pytest.fixture(scope="module")
def pool_typed():
    return importlib.import_module("worker.runtime.celery_app").pool_typed


@pytest.mark.parametrize(
    "line",
    [
        "celery -A worker.app worker --pool prefork",
        "celery -A worker.app worker --pool=prefork",
        "celery -A worker.app worker -P prefork",
        "celery -A worker.app worker -Pprefork",
        "celery -A worker.app worker -P prefork --concurrency 2",
        "celery -A worker.app --pool prefork worker",
    ],
)
def test_a_pool_is_found_however_it_is_typed(pool_typed, line):
    assert pool_typed(line.split()) == "prefork"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "celery -A worker.app worker",
        "celery -A worker.app beat",
        "celery -A worker.app worker --pool-like prefork",
        "celery -A worker.app worker -p prefork",
        "celery -A worker.app worker -P",
        "celery -A worker.app worker --pool",
    ],
)
def test_a_line_that_asks_for_none_gives_none(pool_typed, line):
    assert pool_typed(line.split()) is None


def test_another_pool_is_returned_as_it_is(pool_typed):
    assert pool_typed(["worker", "-P", "threads"]) == "threads"
    assert pool_typed(["worker", "--pool=solo", "--queues", "issue"]) == "solo"


def test_beat_alone_needs_no_more_than_the_broker(subtests):
    for line, needs in [
        ("onboard beat", BEATING),
        ("celery -A worker.app beat --loglevel info", BEATING),
        ("celery -A worker.app worker", EVERYTHING),
        ("celery -A worker.app worker -B", EVERYTHING),
        ("onboard worker --queues beat", EVERYTHING),
        ("celery -A worker.app inspect ping", EVERYTHING),
        ("/srv/beat", EVERYTHING),
    ]:
        with subtests.test(line=line, needs=needs):
            assert importlib.import_module("worker.runtime.celery_app").needs_typed(line.split()) == needs
