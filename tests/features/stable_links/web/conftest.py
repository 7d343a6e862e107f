"""The web server of tests/web, and the routes over a scripted landing page."""

from collections.abc import AsyncIterator

import pytest

from onboarding_worker.web import strangers
from tests.features.stable_links.web.landing import LandingSite
from tests.hostile.served import at_once
from tests.web.conftest import site, start

__all__ = ["site", "start"]


@pytest.fixture(autouse=True)
def answers_wait_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strangers, "wait", at_once)


@pytest.fixture
async def landing() -> AsyncIterator[LandingSite]:
    async with LandingSite() as landing:
        yield landing
