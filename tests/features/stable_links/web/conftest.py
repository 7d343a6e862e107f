"""The web server of tests/web, and the routes over a scripted landing page."""

from collections.abc import AsyncIterator

import pytest

from tests.features.stable_links.web.landing import LandingSite
from tests.web.conftest import site, start

__all__ = ["site", "start"]


@pytest.fixture
async def landing() -> AsyncIterator[LandingSite]:
    async with LandingSite() as landing:
        yield landing
