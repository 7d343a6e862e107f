"""The Celery application, under the name that operators type: `celery -A worker.app worker`."""

from worker.runtime.celery_app import app

__all__ = ["app"]
