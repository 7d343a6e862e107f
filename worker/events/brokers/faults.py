"""Refusals and bounds of brokers, for every module that connects to one."""

import struct

from amqp import AccessRefused, NotAllowed
from amqp.exceptions import AMQPError, MessageNacked
from kombu.exceptions import OperationalError
from redis.exceptions import AuthenticationError, RedisError

from worker.core.foundation.connection_failures import causes, in_words, refusal

# A delivery limit that is never reached. Reading a queue delivers its messages, and RabbitMQ 4 drops a message after 20
# deliveries.
NEVER = 2**31 - 1
# RabbitMQ refuses a login, or has no such virtual host. kombu does not treat this as an outage.
REFUSED = (AccessRefused, NotAllowed)
# All that a broker raises that is lost, or refuses.
OUTAGES = (AMQPError, MessageNacked, OperationalError, RedisError, OSError)
# What kombu and amqp raise on a message that they cannot read off the wire.
UNREADABLE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError, struct.error)


def broker_fault(error: BaseException, *, whom: str = "this process") -> str:
    """What is wrong with a broker, for people: it cannot be reached, or it answers and refuses."""
    words = refusal(error)
    return f"the broker refuses {whom} ({words})" if words else f"the broker cannot be reached ({in_words(error)})"


def refuses_log_in(error: BaseException) -> bool:
    """Whether the broker answers, and does not let this user in: no waiting mends that."""
    return any(isinstance(cause, (*REFUSED, AuthenticationError)) for cause in causes(error))
