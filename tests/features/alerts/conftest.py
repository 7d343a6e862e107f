"""The web server of tests/inbound/web, and a chat that listens."""

from tests.desk.listener import listen
from tests.inbound.web.conftest import start

__all__ = ["listen", "start"]
