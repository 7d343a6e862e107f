"""The web server of tests/web."""

from tests.web.conftest import site, start

__all__ = ["site", "start"]
