"""What all tests of commands and pages ask of this one."""

from tests.desk.desk import Desk

PROCESSES = {"events bounces read"}
NEEDS = [("events bounces read", {"KEY", "SMTP", "TWILIO", "BOUNCES"})]
ASKED_BY_ALL = {"BOUNCES"}
VARIABLES = ['[bounces]\nreturn_path = "bounces+{token}@example.com"\nurl = { env = "BOUNCES" }\n']


def mailbox(desk: Desk) -> dict[str, str]:
    for part in ("cur", "new", "tmp"):
        (desk.path / "mail" / part).mkdir(parents=True)
    pattern = "bounces+{token}@bounce.example.com"
    desk.add(f'[bounces]\nurl = "maildir://{desk.path}/mail"\nreturn_path = "{pattern}"\n')
    return {}


PREPARED = [("features/bounces.md", mailbox)]
