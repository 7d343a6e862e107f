"""Sections and commands of the features that this product ships, each with its feature: so that one which is not there
is named. Written by `python -m worker.features`.
"""

SECTIONS = {
    "alerts": "alerts",
    "fast_calls": "fast_calls",
    "metrics": "metrics",
}

COMMANDS = {
    "archive": "privacy",
    "audit": "audit",
    "customer": "service_desk",
    "doctor": "doctor",
    "keys": "keys",
    "outbox": "outbox",
    "reconcile": "reconcile",
    "rehearse": "rehearsal",
    "users": "dashboard",
}
