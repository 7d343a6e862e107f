"""The example adapter of examples/adapter, as an installed package: it is a provider like our own."""

import importlib
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from onboarding_worker.cli.registry import main_group
from onboarding_worker.lists.columns import known_name
from onboarding_worker.providers.facts import PROVIDERS
from onboarding_worker.providers.parameters import parse_cell
from onboarding_worker.senders.facts import TEXT_SERVICES
from onboarding_worker.wiring.container import build_providers
from onboarding_worker.wiring.senders import build_senders
from tests.providers.installed import install
from tests.settings.samples import loaded, problems, tree

EXAMPLE = Path(__file__).parents[2] / "examples/adapter"


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder for installed packages. Modules that a test has imported from it are forgotten."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    before = set(sys.modules)
    yield folder
    monkeypatch.undo()
    for name in set(sys.modules) - before:
        if name.startswith(("onboarding_acme", "zz_")):
            del sys.modules[name]
    PROVIDERS.forget()
    TEXT_SERVICES.forget()


@pytest.fixture
def acme(site, monkeypatch):
    """The example, with the metadata that pip would write."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    install(site, project["name"], project["entry-points"])
    monkeypatch.syspath_prepend(EXAMPLE)
    importlib.invalidate_caches()
    PROVIDERS.forget()
    TEXT_SERVICES.forget()
    return site


def with_account(**settings):
    configuration = tree()
    configuration["accounts"]["acme"] = {"provider": "acme-idv", "api_key": {"env": "KEY"}, **settings}
    return configuration


def test_it_passes_the_suite_that_our_own_adapters_pass(acme):
    """In a process of its own: the author's pytest has none of our settings and fixtures."""
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "pytest_asyncio.plugin",
            "-c",
            "/dev/null",
            "--rootdir",
            EXAMPLE,
            ".",
        ],
        cwd=EXAMPLE / "tests",
        env={
            "PYTHONPATH": f"{acme}:{EXAMPLE}",
            "PATH": "",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "HYPOTHESIS_STORAGE_DIRECTORY": str(acme / "hypothesis"),
        },
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )

    assert ran.returncode == 0, ran.stdout
    assert " passed" in ran.stdout


def test_its_accounts_have_the_defaults_that_it_documents(acme, tmp_path):
    account = loaded(tmp_path, with_account(), KEY="k").accounts["acme"]

    assert account.base_url == "https://api.acme-idv.example"
    assert [str(limit) for limit in account.limits] == ["10/second"]
    assert account.link_hosts == ("verify.acme-idv.example", "api.acme-idv.example")
    assert account.lifetime.days == 7
    assert build_providers(loaded(tmp_path, with_account(), KEY="k"))["acme"].lifetime.days == 7


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"api_secret": {"env": "KEY"}}, "accounts.acme.api_secret: only for idenfy-kyc and idenfy-kyb"),
        ({"base_url": "https://api.acme-idv.example/v1/sessions"}, "accounts.acme.base_url: expected the URL up to"),
    ],
)
def test_keys_that_it_does_not_have_are_refused(acme, tmp_path, settings, key):
    (line,) = problems(tmp_path, with_account(**settings), KEY="k" * 20)

    assert line.startswith(key)


def test_a_lists_columns_may_have_its_parameters(acme):
    assert known_name("acme-idv.ttl") == "acme-idv.ttl"
    assert parse_cell("acme-idv", "ttl", "3600") == (3600, None)
    assert parse_cell("acme-idv", "ttl", "5") == (None, "must be at least 60")
    assert "the nearest is ttl" in (parse_cell("acme-idv", "tll", "5")[1] or "")


def test_the_version_names_it_and_its_package(acme):
    shown = CliRunner().invoke(main_group, ["--version"]).output

    assert "provider acme-idv: onboarding-acme 0.1.0" in shown
    assert "sender acme-texts: onboarding-acme 0.1.0" in shown


async def test_its_senders_are_built_by_its_name(acme, tmp_path):
    section = {"provider": "acme-texts", "account": "me", "token": {"env": "TOKEN"}, "from": "106540352242922"}
    settings = loaded(tmp_path, tree(sms=section, whatsapp={"from": section["from"]}), TOKEN="t0k3n")

    senders = build_senders(settings, lambda: datetime(2026, 11, 20, tzinfo=UTC))

    assert {channel: type(senders[channel]).__name__ for channel in ("sms", "whatsapp")} == {
        "sms": "AcmeTexts",
        "whatsapp": "AcmeTexts",
    }
    assert settings.sms.base_url == "https://api.acme-texts.example"


def test_without_it_its_account_is_refused_with_the_known_names(tmp_path):
    (line,) = problems(tmp_path, with_account(), KEY="k")

    assert line.startswith("accounts.acme.provider: expected one of idenfy-kyc, ")


def test_a_broken_one_stops_only_configurations_with_its_accounts(site, tmp_path):
    install(site, "zz-broken", {"acme-idv": "zz_broken:ENDPOINT"}, module="raise RuntimeError('hunter2')")
    importlib.invalidate_caches()
    PROVIDERS.forget()

    assert problems(tmp_path, tree()) == []
    assert problems(tmp_path, with_account(), KEY="k") == [
        "accounts.acme.provider: the adapter acme-idv of zz-broken 0.1.0 cannot be loaded:"
        " RuntimeError at zz_broken.py, line 1"
    ]


def test_what_is_no_endpoint_is_refused(site, tmp_path):
    install(site, "zz-text", {"acme-idv": "zz_text:ENDPOINT"}, module="ENDPOINT = 'text'")
    importlib.invalidate_caches()
    PROVIDERS.forget()

    (line,) = problems(tmp_path, with_account(), KEY="k")

    assert line == (
        "accounts.acme.provider: the adapter acme-idv of zz-text 0.1.0 cannot be used: its entry point is no"
        " onboarding_worker.providers.contract.Endpoint"
    )


def test_no_configuration_loads_while_a_package_takes_the_name_of_ours(site, tmp_path):
    install(site, "zz-thief", {"idenfy-kyc": "zz_thief:ENDPOINT"}, module="raise SystemExit('it was imported')")
    importlib.invalidate_caches()
    PROVIDERS.forget()

    assert problems(tmp_path, tree()) == [
        "zz-thief 0.1.0: its adapter has the name idenfy-kyc, which is built in: uninstall the package"
    ]
