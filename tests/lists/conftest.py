import io
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from onboarding_worker.core.model.customers import Customer
from onboarding_worker.lists.accept import accept
from onboarding_worker.lists.lines import AcceptedLine, Line, ListRefused, RefusedLine
from onboarding_worker.lists.listing import CustomerList, open_list
from onboarding_worker.lists.options import ListOptions

TODAY = date(2026, 11, 20)


@pytest.fixture
def read() -> Callable[..., list[Line]]:
    """Read a whole list from text or bytes."""

    def read(content: str | bytes, **options: Any) -> list[Line]:
        raw = content.encode() if isinstance(content, str) else content
        return list(open_list(io.BytesIO(raw), ListOptions(today=TODAY, **options)))

    return read


@pytest.fixture
def refusal() -> Callable[..., str]:
    """Why a list is refused as a whole."""

    def refusal(content: str | bytes, **options: Any) -> str:
        raw = content.encode() if isinstance(content, str) else content
        with pytest.raises(ListRefused) as refused:
            open_list(io.BytesIO(raw), ListOptions(today=TODAY, **options))
        return "\n".join(refused.value.reasons)

    return refusal


@pytest.fixture
def customer() -> Callable[..., Customer]:
    """The customer that a good line becomes."""

    def customer(options: ListOptions | None = None, **cells: Any) -> Customer:
        line = accept(2, {"customer_id": "A1", "channel": "none"} | cells, options or ListOptions(today=TODAY))
        assert isinstance(line, AcceptedLine), line
        return line.customer

    return customer


@pytest.fixture
def problems() -> Callable[..., dict[str, str]]:
    """What is wrong with a bad line: the problem by column. Each has a hint."""

    def problems(options: ListOptions | None = None, **cells: Any) -> dict[str, str]:
        line = accept(2, {"customer_id": "A1", "channel": "none"} | cells, options or ListOptions(today=TODAY))
        assert isinstance(line, RefusedLine), line
        assert all(problem.hint for problem in line.problems)
        return {problem.column: problem.problem for problem in line.problems}

    return problems


@pytest.fixture
def dated() -> Callable[[str], CustomerList]:
    """A list that was opened, to be read."""
    return lambda content: open_list(io.BytesIO(content.encode()), ListOptions(today=TODAY))
