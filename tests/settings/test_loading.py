"""Where the configuration comes from, and that all of its problems come at once."""

import os
from datetime import timedelta
from pathlib import Path

import pytest

from onboarding_worker.core.model.endings import RetryPolicy
from onboarding_worker.core.rules.limits import Limit
from onboarding_worker.settings.load import load
from onboarding_worker.settings.problems import SettingsError
from tests.settings.samples import ENVIRON, KEY, loaded, problems, tree, with_value, without_credentials, write


def test_the_defaults_are_the_documented_ones(tmp_path: Path) -> None:
    settings = loaded(tmp_path, tree())
    account = settings.accounts["kyc"]

    assert settings.path == tmp_path / "onboarding.toml"
    assert settings.directory == tmp_path
    assert settings.database.url == f"sqlite:///{tmp_path / 'onboarding.db'}"
    assert settings.broker.url == "memory://"
    assert settings.encryption.keys[0].reveal() == KEY
    assert settings.worker.lease == timedelta(seconds=60)
    assert (account.base_url, account.limits) == ("https://ivs.idenfy.com", (Limit.parse("10000/hour"),))
    assert (account.concurrency, account.credits, account.on_unknown, account.prefill) == (50, (), "reconcile", "none")
    assert (account.lifetime, account.timeout) == (timedelta(days=7), timedelta(seconds=10))
    assert settings.accounts["au"].base_url == "https://api.frankie.one"
    assert settings.accounts["au"].limits == (Limit.parse("5/second"),)
    assert settings.accounts["au"].lifetime is None
    assert settings.retry.policy == RetryPolicy()
    assert settings.invitations.locale == "en"
    assert settings.invitations.quiet_hours == {}
    assert settings.sms is not None
    assert settings.sms.limits == (Limit.parse("1/second"),)
    assert settings.import_.columns == {}


def test_senders_and_the_bus_may_be_absent(tmp_path: Path) -> None:
    configuration = tree()
    for section in ("email", "sms", "whatsapp", "bus"):
        del configuration[section]

    settings = loaded(tmp_path, configuration)

    assert (settings.email, settings.sms, settings.bus) == (None, None, None)


def test_a_digit_string_shortens_the_default_lifetime_to_what_idenfy_accepts(tmp_path: Path) -> None:
    configuration = with_value(("accounts", "kyc", "parameters"), {"generateDigitString": True})

    assert loaded(tmp_path, configuration).accounts["kyc"].lifetime == timedelta(hours=24)


def test_frankieone_v1_is_prefilled_as_its_call_makes_the_entity(tmp_path: Path) -> None:
    configuration = with_value(("accounts", "au", "provider"), "frankieone-v1")

    assert loaded(tmp_path, configuration).accounts["au"].prefill == "all"


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    given = tree(
        database={"url": "mysql://127.0.0.1/db"}, web={"bind": "0.0.0.0:80"}, retry={"first": "1 hour"}, wroker={}
    )
    configuration = without_credentials(given)
    configuration["accounts"]["kyc"] |= {"limits": ["fast"], "concurency": 5, "lifetime": "1 hour", "customer_id": "x"}
    del configuration["accounts"]["kyc"]["api_secret"]
    configuration["accounts"]["au"] |= {"api_key": {"env": "NOT_THERE"}, "credits": -1}
    del configuration["accounts"]["au"]["link"]
    configuration["routes"][1] |= {"accounts": ["kyk"]}
    configuration["routes"].append({"accounts": ["kyc"], "freshness": "2 hours"})

    assert {line.partition(":")[0] for line in problems(tmp_path, configuration)} == {
        "wroker",
        "database.url",
        "web.bind",
        "retry.first",
        "accounts.kyc.limits[1]",
        "accounts.kyc.concurency",
        "accounts.kyc.customer_id",
        "accounts.kyc.api_secret",
        "accounts.au.api_key",
        "accounts.au.credits",
        "accounts.au.link",
        "routes[2].accounts[1]",
        "routes[3].freshness",
    }


def test_the_error_as_text_is_its_problems_a_line_each(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        loaded(tmp_path, tree(worker={"lease": "soon"}, follow_up={"most": "three"}))

    assert str(caught.value).splitlines() == caught.value.problems
    assert caught.value.problems == [
        'worker.lease: expected a duration such as "7 days", "12 hours", "10 minutes" or "90 s"',
        "follow_up.most: expected a whole number",
    ]


def test_without_an_account_or_a_route_the_message_has_an_example(tmp_path: Path) -> None:
    (no_route,) = problems(tmp_path, tree(routes=[]))
    (no_account,) = problems(tmp_path, tree(accounts={}))

    assert no_route == 'routes: at least one route is needed; to send every row to `kyc`: [[routes]] accounts = ["kyc"]'
    assert no_account.startswith("accounts: at least one account is needed: [accounts.NAME]")


def test_a_missing_file_is_reported_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such file; `onboard init` writes one"):
        load(tmp_path / "nowhere.toml", environ={})


def test_a_directory_and_a_binary_file_are_refused_in_one_line(tmp_path: Path) -> None:
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")

    for path in (tmp_path, binary):
        with pytest.raises(SettingsError) as caught:
            load(path, environ={})
        assert len(caught.value.problems) == 1


def test_a_slip_in_the_toml_is_named_with_file_line_and_column(tmp_path: Path) -> None:
    file = tmp_path / "onboarding.toml"
    file.write_text("[database]\nurl = sqlite\n")

    with pytest.raises(SettingsError) as caught:
        load(file, environ={})

    (line,) = caught.value.problems
    assert line.startswith(f"{file}: line 2, column 7: not TOML")


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("accounts" + ".a" * 3000 + " = 1", "is nested too deeply"),
        ("routes = " + "[" * 200 + "]" * 200, "is nested too deeply"),
        ("routes = " + "[" * 5000 + "]" * 5000, "is nested too deeply"),
        ("retry.attempts = " + "9" * 5000, "has a number of thousands of digits"),
    ],
)
def test_a_file_beyond_any_use_is_refused_in_one_line(tmp_path: Path, written: str, reason: str) -> None:
    file = tmp_path / "onboarding.toml"
    file.write_text(written)

    with pytest.raises(SettingsError) as caught:
        load(file, environ={})
    assert caught.value.problems == [f"{file}: {reason}"]


@pytest.mark.parametrize(
    "given", ["9" * 5000, "[" * 300 + "]" * 300, "[" * 900 + "]" * 900, '{"a":' * 900 + "1" + "}" * 900]
)
def test_a_variable_beyond_any_use_is_a_problem_of_its_key(tmp_path: Path, given: str) -> None:
    file = write(tmp_path, tree())

    with pytest.raises(SettingsError) as caught:
        load(file, environ=ENVIRON | {"ONBOARDING__RETRY__ATTEMPTS": given})
    (line,) = caught.value.problems
    assert line.startswith("retry.attempts")


def test_the_path_comes_from_the_argument_else_the_variable_else_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for directory in (here, there):
        directory.mkdir()
        write(directory, tree())
    monkeypatch.chdir(here)
    named = ENVIRON | {"ONBOARDING_CONFIG": str(there / "onboarding.toml")}

    assert load(environ=ENVIRON).directory == here
    assert load(environ=named).directory == there
    assert load(Path("onboarding.toml"), environ=named).directory == here


def test_another_users_file_that_only_lies_in_the_directory_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path, tree())
    monkeypatch.chdir(tmp_path)
    if os.geteuid() == 0:
        os.chown(file, 65534, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)

    with pytest.raises(SettingsError) as caught:
        load(environ=ENVIRON)

    assert caught.value.problems == [f"{file}: is another user's: if you trust that user, name it with `--config`"]
    assert load(file, environ=ENVIRON).path == file
    assert load(environ=ENVIRON | {"ONBOARDING_CONFIG": str(file)}).path == file


def test_a_byte_order_mark_is_no_slip(tmp_path: Path) -> None:
    file = write(tmp_path, tree())
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())

    assert load(file, environ=ENVIRON).accounts
