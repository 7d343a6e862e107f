"""The Celery application, under the name that Celery looks for: `celery -A worker worker`."""

from worker.app import app

__all__ = ["app"]
