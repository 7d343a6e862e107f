"""The fixtures of all tests of lists, and workbooks that are read here."""

import io
from collections.abc import Callable

import pytest

from tests.lists.conftest import read, refusal
from worker.lists.lines import ListRefused

__all__ = ["read", "refusal"]


@pytest.fixture
def refused_here() -> Callable[[bytes], str]:
    """Why a workbook is refused. It is read in this process: to start another takes longer than to read it."""
    from worker.features.spreadsheets.xlsx import read_workbook

    def refused_here(content: bytes) -> str:
        with pytest.raises(ListRefused) as refused:
            list(read_workbook(io.BytesIO(content), None).rows)
        return "\n".join(refused.value.reasons)

    return refused_here
