"""The web server of tests/web, and a chat that listens."""

from tests.desk.listener import listen
from tests.web.conftest import start

__all__ = ["listen", "start"]
