"""Events from a message bus, through kombu: RabbitMQ or Redis. docs/reference/bus.md is for producers and operators.

It runs in its own process (`onboard bus`), apart from Celery: other projects write these messages.
"""
