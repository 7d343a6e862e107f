"""Redis over a verified connection."""

import ssl
from typing import Any

import redis

from worker.foundation.tls import Tls


class VerifiedRedis(redis.SSLConnection):
    """redis-py's connection, with a context of ours: its own trusts the system's authorities beside those given."""

    def __init__(self, *arguments: Any, ssl_context: ssl.SSLContext, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._ssl_context = ssl_context

    def _wrap_socket_with_ssl(self, sock: Any) -> ssl.SSLSocket:
        return self._ssl_context.wrap_socket(sock, server_hostname=self.host)


def redis_options(tls: Tls) -> dict[str, Any]:
    """The options of a VerifiedRedis."""
    return {"ssl_context": tls.context()}
