"""Tests of what only a fast form does: they do not run where `make plain` switches it off."""

import pytest

from onboarding_worker.core.database import fast
from onboarding_worker.core.database.fast import Twin


def only_fast(twin: Twin) -> pytest.MarkDecorator:
    return pytest.mark.skipif(twin in fast.plain, reason=f"the plain form of {twin} runs")
