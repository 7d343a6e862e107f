"""The Celery application, where Celery looks for it: `celery -A onboarding_worker worker`."""

from onboarding_worker.runtime.celery_app import app

__all__ = ["app"]
