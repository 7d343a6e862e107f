"""What tests of the store, of all settings and of all commands ask of this one."""

from tests.features.outbox.witness import Witness

WITNESSES = [Witness]
SAMPLES = [("subscribers", {"crm": {"url": "https://crm.example.com/hooks", "keys": [{"env": "EVENTS_KEY"}]}})]
NAMED = [("subscribers", "crm")]
VARIABLES = ['[subscribers.crm]\nurl = "https://crm.example.com"\nkeys = [{ env = "SUBSCRIBER" }]\n']
ASKED_BY_ALL = ["SUBSCRIBER"]
NEEDS = [("events outgoing list", {"KEY"}), ("events outgoing retry bus", {"KEY"})]
READS = ["events outgoing list"]
GIVEN_UP = (
    "INSERT INTO outbox (event_id, target, kind, customer_id, data, occurred_at, since, attempts, detail)"
    " VALUES ('0192f000000070008000000000000000', 'bus', 'job.failed', 'C-1', '{}', '2026-01-01', '2026-01-01', 1, '')"
)
CHANGES = [("events outgoing retry", ("outbox", GIVEN_UP))]
# For a rehearsal, which must not reach this port.
TRAPS = ['[subscribers.crm]\nurl = "http://127.0.0.1:{port}"\nkeys = [{{ env = "NOT_HERE" }}]\n']
