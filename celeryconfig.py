"""Celery's settings, for operators to read: `python -c 'import celeryconfig'` with ONBOARDING_CONFIG set.

No process reads this file. The settings are in the package (worker/runtime/celery_settings.py), so that an installed
wheel has them too.
"""

from worker.app import app

globals().update({name: app.conf[name] for name in sorted(app.conf.changes) if not name.startswith("_")})
