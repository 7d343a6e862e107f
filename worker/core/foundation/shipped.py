"""Sections, commands and formats of lists of the features that this product ships, each with its feature: so that one
which is not there is named; and what each must go on serving. `python -m tests.core.foundation.shipped_names` wrote it.
"""

SECTIONS = {
    "alerts": "alerts",
    "bounces": "bounces",
    "dashboard": "dashboard",
    "delivery": "delivery",
    "intake": "list_sources",
    "links": "stable_links",
    "metrics": "metrics",
    "oidc": "oidc",
    "renew": "renew",
    "subscribers": "outbox",
    "uploads": "uploads",
}

COMMANDS = {
    "archive": "privacy",
    "audit": "audit",
    "customer": "service_desk",
    "customer address": "service_desk",
    "customer erase": "service_desk",
    "customer export": "service_desk",
    "customer find": "service_desk",
    "customer new-link": "service_desk",
    "customer reapply": "service_desk",
    "customer resend": "service_desk",
    "customer show": "service_desk",
    "doctor": "doctor",
    "events bounces": "bounces",
    "events outgoing": "outbox",
    "keys": "keys",
    "reconcile": "reconcile",
    "rehearse": "rehearsal",
    "users": "dashboard",
}

FORMATS = {"parquet": "spreadsheets", "xlsx": "spreadsheets"}

SERVES = {
    "outbox": (
        "events that have happened wait to be published",
        "SELECT 1 FROM outbox WHERE due_at IS NOT NULL AND occurred_at <= CURRENT_TIMESTAMP",
    ),
    "stable_links": (
        "links that were sent lead customers to their sessions",
        "SELECT 1 FROM stable_link WHERE revoked_at IS NULL AND ends_at > CURRENT_TIMESTAMP",
    ),
}
