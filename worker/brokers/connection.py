"""kombu's connection as every process of this project has it: the workers', beat's, the bus's and the import's.

kombu asks for no certificate on `rediss`, compares no host name on `amqps`, and unpacks a message as soon as a header
asks for it. Here the other side is verified, and messages stay as they came.
"""

from typing import Any, ClassVar

import redis as redis_py
from kombu.connection import Connection
from kombu.transport import pyamqp, redis

from worker.brokers.redis_tls import VerifiedRedis, redis_options
from worker.brokers.undecoded import Undecoded
from worker.foundation.tls import Tls


class AmqpMessage(Undecoded, pyamqp.Message):
    """A message from RabbitMQ, as it came."""


class RedisChannel(redis.Channel):
    """kombu's, over verified connections."""

    connection_class_ssl: type[redis_py.SSLConnection] | None = VerifiedRedis


class RedisTransport(redis.Transport):
    Channel = RedisChannel


class BrokerConnection(Connection):
    """A connection to one broker, also after a switch to another node. `ssl` is a Tls, or None for the usual one."""

    redis_transport: ClassVar[type[redis.Transport]] = RedisTransport
    amqp_message: ClassVar[type[AmqpMessage]] = AmqpMessage

    def _init_params(self, **params: Any) -> None:  # type: ignore[override]
        # Called for each node with its own host. A clone hands over what this made.
        scheme, given = params.get("transport"), params.get("ssl")
        if scheme == "amqps":
            options = given if isinstance(given, dict) else (given or Tls()).amqp("")
            params["ssl"] = {**options, "server_hostname": params["hostname"] or "localhost"}
        elif scheme == "rediss":
            params["ssl"] = given if isinstance(given, dict) else redis_options(given or Tls())
        elif isinstance(given, Tls):
            params["ssl"] = False  # another node of the same broker has TLS
        super()._init_params(**params)

    def get_transport_cls(self) -> Any:
        return self.redis_transport if self.transport_cls in ("redis", "rediss") else super().get_transport_cls()

    def channel(self) -> Any:
        """A channel whose messages are not decoded."""
        channel = super().channel()
        if isinstance(channel, pyamqp.Channel):
            channel.auto_decode = False
            channel.Message = self.amqp_message
        return channel
