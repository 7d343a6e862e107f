"""Codes of the providers that no table of ours has: the other rows show whom they are about, and they are counted."""

import pytest

from onboarding_testing.accounts import answer, problem_in
from onboarding_worker.core.model.endings import Kind
from onboarding_worker.core.model.stops import About
from tests.providers.endpoints import CASES
from tests.providers.frankieone_answers import frankie_error
from tests.providers.idenfy_answers import idenfy_error

IDENFY = [name for name in CASES if name.startswith("idenfy")]
FRANKIE = [name for name in CASES if name.startswith("frankieone")]


@pytest.mark.parametrize("name", IDENFY)
def test_an_identifier_of_idenfys_of_tomorrow_is_counted_by_its_status(name):
    """It may as well be a person's name, so it is not shown."""
    problem = problem_in(CASES[name], idenfy_error(400, "NEW_ERROR", "no"))
    assert (problem.kind, problem.about, problem.unclear) == (Kind.BAD_INPUT, About.UNKNOWN, True)
    assert (problem.code, problem.unread) == (None, "HTTP-400")
    known = problem_in(CASES[name], idenfy_error(400, "BAD_VALUE", "no"))
    assert (known.about, known.unclear, known.unread) == (About.CUSTOMER, False, "")
    for status in (401, 500):  # these say what they are without it
        problem = problem_in(CASES[name], idenfy_error(status, "NEW_ERROR", "no"))
        assert (problem.unclear, problem.unread) == (False, f"HTTP-{status}")
    assert problem_in(CASES[name], answer(400, {"message": "no"})).unread == ""


@pytest.mark.parametrize("name", FRANKIE)
def test_a_code_of_another_part_of_frankieone_is_counted(name):
    problem = problem_in(CASES[name], frankie_error(400, "NEW-0400", "no"))
    assert (problem.kind, problem.about, problem.unread) == (Kind.BAD_INPUT, About.UNKNOWN, "NEW-0400")
    known = problem_in(CASES[name], frankie_error(400, "VAL-0400", "no"))
    assert (known.about, known.unclear, known.unread) == (About.CUSTOMER, False, "")
