"""What brokers refuse, and bounds of theirs: for whoever talks to one."""

from amqp import AccessRefused, NotAllowed

# To look at a queue hands its messages out, and RabbitMQ 4 would drop them after 20 times.
NEVER = 2**31 - 1
# RabbitMQ refuses a login, or has no such virtual host: no outage for Celery, though both pass once they are mended.
REFUSED = (AccessRefused, NotAllowed)
# How long to wait before asking again.
REFUSED_SECONDS = 5.0
