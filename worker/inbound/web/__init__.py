"""Events over HTTP (docs/http.md). `app(parts)` is an aiohttp application, to run or to mount in another one."""

from worker.inbound.web.application import app, no_bell

__all__ = ["app", "no_bell"]
