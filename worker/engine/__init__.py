"""Works rows under limits. Knows no list format, no bus, no HTTP server and no Celery."""
