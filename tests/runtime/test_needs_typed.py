"""What Celery's own commands need of the configuration's secrets: beat knows the broker, and nothing else."""

import importlib

from worker.settings.needs import BEATING, EVERYTHING


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
