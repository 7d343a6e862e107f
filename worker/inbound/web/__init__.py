"""Events over HTTP (docs/http.md). `app(parts)` is an aiohttp application, to run or to mount in another one."""

from worker.inbound.web.application import app, no_wake_up

__all__ = ["app", "no_wake_up"]
