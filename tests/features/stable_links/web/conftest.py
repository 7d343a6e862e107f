"""The web server of tests/web."""

from tests.web.conftest import site, start, url

__all__ = ["site", "start", "url"]
