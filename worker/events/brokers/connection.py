"""Connections to brokers as every process of this project makes them: with time-outs, and over verified TLS.

kombu asks for no certificate on `rediss`, and compares no host name on `amqps`: so each option is said.
"""

import ssl
from typing import Any
from urllib.parse import urlsplit

import redis
from kombu.connection import Connection

from worker.core.foundation.tls import Tls

# Seconds. Without these, a call to a broker that hangs, or whose host vanished, waits for ever.
CONNECT_SECONDS = 5
SILENT_SECONDS = 10
# How long RabbitMQ may take to confirm a message.
CONFIRM_SECONDS = 10


def tls_options(url: str, tls: Tls | None) -> dict[str, Any] | None:
    """What kombu calls `ssl`, and Celery `broker_use_ssl`; None for an address without TLS.

    kombu has one such table for all nodes of an address: a certificate of RabbitMQ must have the first node's name.
    """
    first = urlsplit(url.partition(";")[0])
    if first.scheme == "amqps":
        return (tls or Tls()).amqp(first.hostname or "localhost")
    return redis_tls(tls) if first.scheme == "rediss" else None


def redis_tls(tls: Tls | None) -> dict[str, Any]:
    """redis-py's options. It trusts the system's authorities beside `ca`."""
    given = tls or Tls()
    options: dict[str, Any] = {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True}
    if given.ca is not None:
        options["ssl_ca_certs"] = str(given.ca)
    if given.certificate is not None:
        options["ssl_certfile"] = str(given.certificate)
        options["ssl_keyfile"] = str(given.certificate)
        options["ssl_password"] = ""  # never asked for: a service has no terminal
    return options


def transport_options(url: str) -> dict[str, Any]:
    """The time-outs, by kombu's documented names."""
    if url.startswith("redis"):
        return {
            "socket_timeout": SILENT_SECONDS,
            "socket_connect_timeout": CONNECT_SECONDS,
            "socket_keepalive": True,
            "health_check_interval": SILENT_SECONDS,
        }
    if url.startswith("amqp"):
        return {"confirm_publish": True, "read_timeout": SILENT_SECONDS, "write_timeout": SILENT_SECONDS}
    return {"polling_interval": 0.01}


def broker_connection(url: str, tls: Tls | None = None, *, heartbeat: int = 0, **options: Any) -> Connection:
    """A connection to a broker. It opens when it is first used, or by `connect`. `options`: of kombu's transport."""
    return Connection(
        url,
        ssl=tls_options(url, tls),
        heartbeat=heartbeat,
        connect_timeout=CONNECT_SECONDS,
        transport_options={**transport_options(url), **options},
    )


def redis_client(url: str, tls: Tls | None = None) -> redis.Redis:
    """redis-py's client, for streams. The time-outs are those of kombu's connections."""
    options = transport_options(url) | (redis_tls(tls) if url.startswith("rediss") else {})
    return redis.Redis.from_url(url, **options)
