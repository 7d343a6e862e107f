"""Tests of what only a fast form does: they do not run where `make plain` switches it off."""

import pytest

from worker.core.database import fast
from worker.core.database.fast import Twin


def only_fast(twin: Twin) -> pytest.MarkDecorator:
    return pytest.mark.skipif(twin in fast.plain, reason=f"the plain form of {twin} runs")
