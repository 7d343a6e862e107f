"""Values that have no source here: a problem only for a command that needs them, or where they are used."""

from pathlib import Path
from typing import Any

import pytest

from onboarding_worker.settings.load import load
from onboarding_worker.settings.model import Settings
from onboarding_worker.settings.needs import EVERYTHING, NOTHING, Need, is_needed
from onboarding_worker.settings.problems import SettingsError
from tests.settings.samples import ENVIRON, tree, with_value, write

ABSENT = {"env": "ABSENT"}
LINE = "the environment variable ABSENT is not set"


def read(directory: Path, configuration: dict[str, Any], needs: frozenset[Need] = NOTHING) -> Settings:
    return load(write(directory, configuration), environ=ENVIRON, needs=needs)


def test_each_value_is_needed_for_one_thing_and_any_other_always(subtests):
    cases = [
        (("database", "url"), Need.DATABASE),
        (("encryption", "keys"), Need.KEYS),
        (("broker", "url"), Need.BROKER),
        (("accounts", "kyc", "api_key"), Need.CALLS),
        (("accounts", "kyc", "webhook_keys"), Need.RECEIVING),
        (("email", "url"), Need.SENDING),
        (("accounts", "au", "webhook_secret"), Need.RECEIVING),
        (("sms", "token"), Need.SENDING),
        (("sms", "token"), Need.RECEIVING),
        (("web", "senders", "signup", "keys"), Need.RECEIVING),
        (("invitations", "templates"), None),
    ]
    for path, need in cases:
        with subtests.test(path=path, need=need):
            assert is_needed(path, EVERYTHING)
            assert is_needed(path, frozenset() if need is None else frozenset({need}))
            assert is_needed(path, NOTHING) is (need is None)


def test_the_token_is_not_needed_for_callbacks_that_another_key_verifies(tmp_path: Path):
    token = (("sms", "token"), ABSENT)
    with pytest.raises(SettingsError, match=r"sms\.token"):
        read(tmp_path, with_value(*token), frozenset({Need.RECEIVING}))

    own = with_value(*token)
    own["sms"] = own["sms"] | {"callback_key": {"env": "EVENTS_KEY"}}
    settings = read(tmp_path, own, frozenset({Need.RECEIVING}))

    assert settings.sms is not None
    with pytest.raises(SettingsError, match=r"sms\.token"):
        settings.sms.token.reveal()
    with pytest.raises(SettingsError, match=r"sms\.token"):
        read(tmp_path, own, frozenset({Need.SENDING}))


def test_a_secret_that_is_not_needed_raises_with_its_key_where_it_is_used(tmp_path: Path):
    settings = read(tmp_path, with_value(("accounts", "kyc", "api_key"), ABSENT))

    with pytest.raises(SettingsError) as raised:
        settings.accounts["kyc"].api_key.reveal()

    assert raised.value.problems == [f"accounts.kyc.api_key: {LINE}"]
    assert settings.accounts["kyc"].api_secret is not None


@pytest.mark.parametrize("section", ["database", "broker", "email"])
def test_a_url_that_is_not_needed_raises_with_its_key_where_it_is_read(tmp_path: Path, section: str):
    settings = read(tmp_path, with_value((section, "url"), ABSENT))
    table = getattr(settings, section)

    with pytest.raises(SettingsError) as raised:
        _ = table.url

    assert raised.value.problems == [f"{section}.url: {LINE}"]
    assert table.lacks("url")
    assert "url" not in repr(table)


def test_what_is_needed_is_a_problem_at_once(tmp_path: Path):
    configuration = with_value(("accounts", "kyc", "api_key"), ABSENT)

    with pytest.raises(SettingsError) as raised:
        read(tmp_path, configuration, frozenset({Need.CALLS}))

    assert raised.value.problems == [f"accounts.kyc.api_key: {LINE}"]


def test_a_value_that_is_no_secret_is_always_needed(tmp_path: Path):
    with pytest.raises(SettingsError, match="ABSENT is not set"):
        read(tmp_path, with_value(("accounts", "kyc", "base_url"), ABSENT))


@pytest.mark.parametrize(("other", "shared"), [(ABSENT, True), ({"env": "ALSO_ABSENT"}, False)])
def test_accounts_with_the_same_missing_key_share_a_budget(tmp_path: Path, other: dict[str, str], shared: bool):
    configuration = tree()
    secret = configuration["accounts"]["kyc"] | {"api_key": ABSENT}
    configuration["accounts"] |= {"kyc": secret, "kyc-lt": secret | {"api_key": other}}

    accounts = read(tmp_path, configuration).accounts

    assert (accounts["kyc"].budget == accounts["kyc-lt"].budget) is shared
