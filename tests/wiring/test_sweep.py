"""The steps of the timer: each is made alone, and none ends another."""

import pytest
import sqlalchemy as sa

from onboarding_worker.wiring.sweep_steps import each_alone


def test_a_step_that_raises_ends_none_of_the_others(caplog):
    made = []

    def odd():
        raise LookupError("maria@example.org")

    each_alone(lambda: made.append(1), odd, lambda: made.append(2))

    assert made == [1, 2]
    assert "maria" not in caplog.text


def test_without_a_database_there_are_no_other_steps():
    def away():
        raise sa.exc.OperationalError(None, None, OSError("gone"))

    with pytest.raises(sa.exc.OperationalError):
        each_alone(away, lambda: pytest.fail("a step was made"))


def test_two_steps_of_one_name_have_an_outage_each(caplog):
    class Well:
        def step(self):
            pass

    class Broken:
        def step(self):
            raise LookupError

    for _ in range(3):
        each_alone(Broken().step, Well().step)

    assert len(caplog.messages) == 1
