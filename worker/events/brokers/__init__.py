"""Connections to RabbitMQ and Redis. Verified, bounded in time; what strangers wrote stays as it came."""
