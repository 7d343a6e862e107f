"""The web server (docs/reference/http.md). `app(parts)` is an aiohttp application, to run or to mount in another."""

from worker.inbound.web.application import app, no_wake_up

__all__ = ["app", "no_wake_up"]
