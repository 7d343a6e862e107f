"""Which secrets each command needs: a command of a person who reads needs none of the providers' or senders'."""

import click
import pytest

from onboarding_worker.cli.registry import main_group
from onboarding_worker.core.foundation.keyring import new_key
from tests.desk.desk import Desk, customers
from tests.suite.of_features import of_features

# In a configuration where every secret is a variable: those that a command asks for.
STORED = {"KEY"}
WAKING = STORED | {"BROKER"}
SENDING = {"SMTP", "TWILIO"}
EVERYTHING = {
    *(WAKING | SENDING),
    *("BUS", "IDENFY", "IDENFY_SECRET", "WEBHOOK", "EVENTS"),
    *of_features("ASKED_BY_ALL"),
}
NEEDS = {
    "account list": STORED,
    "account resume kyc": WAKING,
    "beat": {"BROKER"},
    "bus": WAKING | {"BUS"},
    "events dead list": STORED,
    "events dead drop --all": STORED,
    "events dead requeue --all": STORED | {"BUS", "BROKER"},
    "events dead show 00000000-0000-0000-0000-000000000000": STORED,
    "cancel 1": STORED,
    "check customers.csv": set(),
    "db copy --to env:NEW_DATABASE": STORED,
    "db upgrade": set(),
    "import customers.csv": STORED | {"BUS"},
    "pause 1": STORED,
    "report all --kind nonresponders --by 2026-11-27": set(),
    "report 1 --with-links": STORED,
    "resolve 1 --abandon": WAKING,
    "resume 1": WAKING,
    "retry 1": WAKING,
    "run customers.csv": EVERYTHING,
    "status": set(),
    "status --check": set(),
    "stop": STORED,
    "suppress --list": STORED,
    "template export": set(),
    "template preview": set(),
    "template send --to me@example.com": STORED | SENDING,
    "up": EVERYTHING,
    # Strangers reach it: it holds no credentials of the providers and of the mail server. SMS callbacks are signed.
    "web": WAKING | {"WEBHOOK", "EVENTS", "TWILIO", *of_features("ASKED_BY_WEB")},
    "events webhooks list": STORED,
    "events webhooks done 0192f000-0000-7000-8000-000000000000": STORED,
    "events webhooks retry": STORED,
    "worker": EVERYTHING,
    **dict(of_features("NEEDS")),
    **dict.fromkeys(of_features("ASKS_FOR_ALL"), EVERYTHING),
}
WITHOUT_SECRETS = {"completion", "db grant", "demo", "init", "sandbox", *of_features("WITHOUT_SECRETS")}
VARIABLES = """
[database]
url = "sqlite:///onboarding.db"
[encryption]
keys = [{ env = "KEY" }]
[broker]
url = { env = "BROKER" }
[bus]
url = { env = "BUS" }
[accounts.kyc]
provider = "idenfy-kyc"
api_key = { env = "IDENFY" }
api_secret = { env = "IDENFY_SECRET" }
webhook_keys = [{ env = "WEBHOOK" }]
[[routes]]
accounts = ["kyc"]
[email]
url = { env = "SMTP" }
from = "verify@example.com"
[sms]
account = "AC1"
token = { env = "TWILIO" }
from = "+15005550006"
[web.senders.signup]
keys = [{ env = "EVENTS" }]
""" + "".join(of_features("VARIABLES"))


def paths_of(group: click.Group) -> set[str]:
    """The commands that do something, by the words that are typed."""
    context = click.Context(group)
    found = set()
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found |= {f"{name} {below}" for below in paths_of(command)}
            found |= {name} if command.invoke_without_command else set()
        else:
            found.add(name)
    return found


@pytest.fixture
def bare_of_secrets(bare: Desk) -> Desk:
    bare.write("onboarding.toml", VARIABLES)
    bare.list_of(customers(2))
    return bare


def test_each_command_is_in_the_table_of_needs():
    known = WITHOUT_SECRETS | {path for path in paths_of(main_group) if any(_is(path, typed) for typed in NEEDS)}

    assert paths_of(main_group) == known


def _is(path: str, typed: str) -> bool:
    words = typed.split()
    return words[: len(path.split())] == path.split()


def test_a_command_asks_for_the_secrets_that_it_uses_and_for_no_other(bare_of_secrets: Desk, subtests: pytest.Subtests):
    for typed in NEEDS:
        with subtests.test(typed=typed):
            ended = bare_of_secrets.onboard(*typed.split())

            lines = [*ended.lines, *ended.out.splitlines()]  # `doctor` shows what it finds on standard output
            asked = {line.split("variable ")[1].split()[0] for line in lines if "is not set" in line}
            assert asked == NEEDS[typed]
            assert ended.code == (2 if NEEDS[typed] else 0)


def test_who_reads_what_is_stored_needs_only_the_key(desk: Desk):
    desk.onboard("run", desk.list_of(customers(2)))
    for file in (desk.path / "secrets").iterdir():
        file.unlink()
    desk.change('url = "smtp://', 'url = { env = "SMTP" }  # "smtp://')

    for typed in (
        "status",
        "status 1",
        "report 1",
        "account list",
        "events webhooks list",
        *of_features("READ_WITH_KEY"),
    ):
        ended = desk.onboard(*typed.split())
        assert ended.code == 0, f"{typed}: {ended.err}"
    refused = desk.onboard("run", "customers.csv")

    assert refused.code == 2
    assert "accounts.kyc.api_key: no file secrets/idenfy_key" in refused.err


def test_a_list_is_checked_without_a_key_a_database_or_a_folder_to_write_to(bare_of_secrets: Desk):
    before = sorted(bare_of_secrets.path.iterdir())

    ended = bare_of_secrets.onboard("check", "customers.csv", "--json")

    assert ended.facts["rows"]["accepted"] == 2
    assert sorted(bare_of_secrets.path.iterdir()) == before


def test_status_and_report_show_without_the_keys_what_they_show_with_them(bare_of_secrets: Desk):
    desk = bare_of_secrets
    values = {"KEY": new_key(), "BUS": "redis://127.0.0.1:1/0", "BROKER": "memory://"}
    desk.environ |= values
    assert desk.onboard("import", "customers.csv").code == 0
    commands = (("status", "1", "--json"), ("report", "1"), ("status", "--json"))
    with_keys = [desk.onboard(*command).out for command in commands]
    del desk.environ["KEY"]
    assert [desk.onboard(*command).out for command in commands] == with_keys
    desk.environ["KEY"] = new_key()
