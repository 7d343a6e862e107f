"""Tests of what only a fast form does: they do not run where `make plain` switches it off."""

import pytest

from worker.core.database.fast import twins
from worker.core.database.fast.twins import Twin


def only_fast(twin: Twin) -> pytest.MarkDecorator:
    return pytest.mark.skipif(twin in twins.plain, reason=f"the plain form of {twin} runs")
