"""The web server (docs/reference/http.md). `app(parts)` is an aiohttp application, to run or to mount in another."""
