"""Sections, commands and formats of lists of the features that this product ships, each with its feature: so that one
which is not there is named. Written by `python -m worker.features`.
"""

SECTIONS = {
    "alerts": "alerts",
    "bounces": "bounces",
    "fast_calls": "fast_calls",
    "intake": "list_sources",
    "links": "stable_links",
    "metrics": "metrics",
}

COMMANDS = {
    "archive": "privacy",
    "audit": "audit",
    "bounces": "bounces",
    "customer": "service_desk",
    "doctor": "doctor",
    "keys": "keys",
    "outbox": "outbox",
    "reconcile": "reconcile",
    "rehearse": "rehearsal",
    "users": "dashboard",
}

FORMATS = {
    "parquet": "spreadsheets",
    "xlsx": "spreadsheets",
}
