"""Processes: Celery, the worker inside a command, wake-ups, the Python API. Decides nothing about customers."""
