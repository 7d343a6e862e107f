"""What tests of all settings, commands and pages ask of this one."""

from tests.desk.desk import Desk

LET_IN = [("users of the dashboard", (("dashboard", "users"), {"file": "users.toml"}))]
WITHOUT_DATABASE = ["users add"]
WITHOUT_SECRETS = ["users add"]
NOT_RUN = [("users add", "asks for a password; tests/features/dashboard")]


def refused_event(_desk: Desk) -> dict[str, str]:
    return {"ID": "019aa157-5a3e-7c41-b6f5-0a8a3c1c9b6e"}


PREPARED = [("features/dashboard.md", refused_event)]

# What people read of the whole.
SAYINGS = ["tests.features.dashboard.sayings:say"]
