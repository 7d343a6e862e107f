"""What a Celery command line asks for, as the settings must know it before Celery reads the line: the pool, and the
secrets that its command needs."""

import importlib

import pytest

from onboarding_worker.settings.needs import BEATING, EVERYTHING


@pytest.fixture(scope="module")
def pool_typed():
    return importlib.import_module("onboarding_worker.runtime.celery_app").pool_typed


@pytest.mark.parametrize(
    "line",
    [
        "celery -A onboarding_worker worker --pool prefork",
        "celery -A onboarding_worker worker --pool=prefork",
        "celery -A onboarding_worker worker -P prefork",
        "celery -A onboarding_worker worker -Pprefork",
        "celery -A onboarding_worker worker -P prefork --concurrency 2",
        "celery -A onboarding_worker --pool prefork worker",
    ],
)
def test_a_pool_is_found_however_it_is_typed(pool_typed, line):
    assert pool_typed(line.split()) == "prefork"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "celery -A onboarding_worker worker",
        "celery -A onboarding_worker beat",
        "celery -A onboarding_worker worker --pool-like prefork",
        "celery -A onboarding_worker worker -p prefork",
        "celery -A onboarding_worker worker -P",
        "celery -A onboarding_worker worker --pool",
    ],
)
def test_a_line_that_asks_for_none_gives_none(pool_typed, line):
    assert pool_typed(line.split()) is None


def test_another_pool_is_returned_as_it_is(pool_typed):
    assert pool_typed(["worker", "-P", "threads"]) == "threads"
    assert pool_typed(["worker", "--pool=solo", "--queues", "issue"]) == "solo"


def test_beat_and_monitors_need_no_more_than_the_broker(subtests):
    for line, needs in [
        ("onboard beat", BEATING),
        ("celery -A onboarding_worker beat --loglevel info", BEATING),
        ("celery -A onboarding_worker worker", EVERYTHING),
        ("celery -A onboarding_worker worker -B", EVERYTHING),
        ("onboard worker --queues beat", EVERYTHING),
        ("celery -A onboarding_worker inspect ping", BEATING),
        ("celery -A onboarding_worker status", BEATING),
        ("celery -A onboarding_worker events --dump", BEATING),
        ("celery -A onboarding_worker flower --port=5555", BEATING),
        ("celery -A onboarding_worker worker --hostname inspect", EVERYTHING),
        ("/srv/beat", EVERYTHING),
    ]:
        with subtests.test(line=line, needs=needs):
            assert importlib.import_module("onboarding_worker.runtime.celery_app").needs_typed(line.split()) == needs
