"""The web server of tests/web, and the one of tests/hostile."""

from tests.hostile.conftest import port, web
from tests.web.conftest import site, start

__all__ = ["port", "site", "start", "web"]
