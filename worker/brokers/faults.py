"""Refusals and bounds of brokers, for every module that connects to one."""

import struct

from amqp import AccessRefused, NotAllowed

# A delivery limit that is never reached. Reading a queue delivers its messages, and RabbitMQ 4 drops a message after 20
# deliveries.
NEVER = 2**31 - 1
# RabbitMQ refuses a login, or has no such virtual host. Celery does not treat this as an outage, but it ends when it is
# corrected.
REFUSED = (AccessRefused, NotAllowed)
# How long to wait before the next try.
REFUSED_SECONDS = 5.0
# What kombu and amqp raise on a message that they cannot read off the wire.
UNREADABLE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError, struct.error)
