"""The web server of tests/inbound/web, and a chat that listens."""

from tests.inbound.web.conftest import start
from tests.publishers.conftest import listen

__all__ = ["listen", "start"]
