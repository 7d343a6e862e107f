"""What tests of all settings, commands and doors ask of this one."""

# The web server's table; its keys are those of tests/web/site.py.
REPORTS = ['[delivery.standard]\nkeys = [{ env = "FIRST" }, { env = "SECOND" }]\n']
# The same where keys are in files.
REPORTS_BY_FILES = ['[delivery.standard]\nkeys = [{ file = "secrets/first" }]\n']
# Modules with a table CASES of hostile requests, each with the status of its answer.
HOSTILE = ["tests.features.delivery.test_hostile_callbacks"]
HOOK = {"env": "IDENFY_WEBHOOK_KEY"}
LET_IN = [
    ("reports on mails", (("delivery", "standard", "keys"), [HOOK])),
    ("answers to texts", (("web", "base_url"), "https://onboard.example.com")),
]
# Paths of keys that others show us.
LONG_KEYS = [("delivery", "standard", "keys"), ("delivery", "postmark", "keys")]
