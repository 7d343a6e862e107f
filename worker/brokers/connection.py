"""kombu's connection as every process of this project has it: the workers', beat's, the bus's and the import's.

kombu asks for no certificate on `rediss`, compares no host name on `amqps`, and unpacks a message as soon as a header
asks for it. Here the other side is verified, and messages stay as they came. An operation may be ended from outside.
"""

from typing import Any, ClassVar

import redis as redis_py
from kombu.connection import Connection, ConnectionPool, PooledConnection
from kombu.transport import pyamqp, redis

from worker.brokers.bounded import AmqpConnection, GoesOn, bounded
from worker.brokers.redis_tls import VerifiedRedis, redis_options
from worker.brokers.undecoded import Undecoded
from worker.foundation.tls import Tls


class AmqpMessage(Undecoded, pyamqp.Message):
    """A message from RabbitMQ, as it came."""


class AmqpTransport(pyamqp.Transport):
    Connection = AmqpConnection


class RedisChannel(redis.Channel):
    """kombu's, over verified connections."""

    connection_class_ssl: type[redis_py.SSLConnection] | None = VerifiedRedis

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        options: dict[str, Any] = super()._connparams(asynchronous)
        goes_on = self.connection.client.transport_options.get("goes_on")
        if goes_on is not None:
            options["connection_class"] = bounded(options["connection_class"], goes_on)
        return options


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

    def bound(self, goes_on: GoesOn) -> None:
        """End each operation with TimeoutError once `goes_on` returns False. Called before the connection opens."""
        self.transport_options = {**(self.transport_options or {}), "goes_on": goes_on}

    def get_transport_cls(self) -> Any:
        if self.transport_cls in ("redis", "rediss"):
            return self.redis_transport
        found = super().get_transport_cls()
        # kombu's second one, for amqps, only asks for the options of TLS, which `_init_params` has set.
        return AmqpTransport if issubclass(found, pyamqp.Transport) else found

    def Pool(self, limit: int | None = None, **options: Any) -> ConnectionPool:
        return _Pool(self, limit, **options)

    def channel(self) -> Any:
        """A channel whose messages are not decoded."""
        channel = super().channel()
        if isinstance(channel, pyamqp.Channel):
            channel.auto_decode = False
            channel.Message = self.amqp_message
        return channel


class _Pool(ConnectionPool):
    """A pool of our connections. kombu's makes its own kind, whatever it is made of, and each wake-up goes over one."""

    def new(self) -> Any:
        kind = type(self.connection)
        return type(kind.__name__, (PooledConnection, kind), {})(self, **dict(self.connection._info(resolve=False)))
