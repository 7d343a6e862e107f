"""The web server of tests/inbound/web."""

from tests.inbound.web.conftest import site, start, url

__all__ = ["site", "start", "url"]
