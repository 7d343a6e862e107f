"""The web server of tests/web."""

from tests.web.conftest import start

__all__ = ["start"]
