"""Tests of what only a fast form does: they do not run where `make plain` switches it off."""

import pytest

from worker.core.database.fast.twins import Twin, runs


def only_fast(twin: Twin) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not runs(twin), reason=f"the plain form of {twin} runs")
