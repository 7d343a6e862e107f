"""Events from a message bus, through kombu: RabbitMQ or Redis. docs/bus.md says what producers and operators need.

A process of its own (`onboard bus`), apart from Celery's: what comes here was written by strangers.
"""
