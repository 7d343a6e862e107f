"""`onboard init`."""

import json
import stat
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from onboarding_sandbox.command import sandbox_webhooks
from onboarding_worker.cli.commands.init import init
from onboarding_worker.settings.load import load
from tests.settings.samples import ENVIRON

PAGE = Path(__file__).parents[2] / "docs/reference/configuration.md"
SMTP = {"SMTP_URL": "smtp+starttls://user:password@mail.example.com"}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(init, list(arguments))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_sandbox_configuration_loads_as_it_is(tmp_path: Path) -> None:
    result = run("--sandbox", str(tmp_path))

    settings = load(tmp_path / "onboarding.toml", environ={})

    assert result.exit_code == 0
    assert settings.warnings == ()
    assert settings.accounts["kyc"].base_url == "http://127.0.0.1:9200/idenfy"
    assert settings.accounts["kyc"].api_key.reveal() == "sandbox-key"
    assert settings.accounts["au"].provider == "frankieone-v2"
    assert settings.accounts["au"].budget == "au"
    assert [route.accounts for route in settings.routes] == [("kyb",), ("au",), ("au-new",), ("kyc-lt",), ("kyc",)]
    assert {account.budget for account in settings.accounts.values()} == {"kyb", "au"}
    assert settings.email is not None
    assert (settings.email.server.host, settings.email.server.port) == ("127.0.0.1", 9225)


def test_the_sandbox_reports_by_default_where_the_accounts_of_its_configuration_hear(tmp_path: Path) -> None:
    run("--sandbox", str(tmp_path))

    settings = load(tmp_path / "onboarding.toml", environ={})

    for endpoint, address in sandbox_webhooks().items():
        name, _, secret = address.removeprefix(f"http://{settings.web.bind}/webhooks/").partition("/")
        assert settings.accounts[name].provider == endpoint
        assert [one.reveal() for one in settings.accounts[name].webhook_secret] == [secret] * bool(secret)
    assert sandbox_webhooks().keys() == {account.provider for account in settings.accounts.values()}


def test_the_sandbox_configuration_accepts_other_ports(tmp_path: Path) -> None:
    result = run("--sandbox", "--port", "40001", "--smtp-port", "40002", str(tmp_path))

    settings = load(tmp_path / "onboarding.toml", environ={})

    assert settings.accounts["au"].base_url == "http://127.0.0.1:40001/frankieone"
    assert settings.email is not None
    assert settings.email.server.port == 40002
    assert "onboard sandbox --port 40001 --smtp-port 40002" in result.output


def test_the_real_configuration_loads_once_its_variables_are_set(tmp_path: Path) -> None:
    assert run(str(tmp_path)).exit_code == 0

    settings = load(tmp_path / "onboarding.toml", environ=ENVIRON | SMTP)

    assert list(settings.accounts) == ["kyc"]
    assert settings.warnings == ()
    assert "# quiet_hours = " in (tmp_path / "onboarding.toml").read_text()


def test_the_reference_begins_with_the_keys_that_init_writes(tmp_path: Path) -> None:
    run(str(tmp_path))

    shown = PAGE.read_text(encoding="utf-8").partition("```toml\n")[2].partition("```")[0]

    assert tomllib.loads(shown) == tomllib.loads((tmp_path / "onboarding.toml").read_text())


def test_what_is_commented_out_can_be_used(tmp_path: Path) -> None:
    run(str(tmp_path))
    file = tmp_path / "onboarding.toml"
    wanted = ("# [accounts.au]", "# [invitations]", "# [[routes]]", "# [broker]")
    lines, using = [], False
    for line in file.read_text().splitlines():
        using = line.startswith(wanted) or (using and line.startswith("# "))
        lines.append(line.removeprefix("# ") if using and "templates" not in line else line)
    file.write_text("\n".join(lines))

    settings = load(file, environ=ENVIRON | SMTP | {"FRANKIE_WEBHOOK_SECRET": "an-unguessable-segment"})

    assert list(settings.accounts) == ["kyc", "au"]
    assert len(settings.routes) == 2
    assert set(settings.invitations.quiet_hours) == {"sms", "email"}


def test_keys_and_secrets_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    run("--sandbox", str(tmp_path))

    assert mode(tmp_path / "onboarding.key") == 0o600
    assert {mode(file) for file in (tmp_path / "secrets").iterdir()} == {0o600}


def test_what_is_there_is_not_overwritten_without_force(tmp_path: Path) -> None:
    (tmp_path / "onboarding.toml").write_text("mine")

    result = run("--sandbox", str(tmp_path))

    assert result.exit_code == 2
    assert "--force" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["onboarding.toml"]
    assert (tmp_path / "onboarding.toml").read_text() == "mine"


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    run("--sandbox", str(tmp_path))
    key = (tmp_path / "onboarding.key").read_text()

    result = run("--sandbox", "--force", "--port", "40001", str(tmp_path))

    assert result.exit_code == 0
    assert f"kept {tmp_path / 'onboarding.key'}" in result.output
    assert (tmp_path / "onboarding.key").read_text() == key
    assert "40001" in (tmp_path / "onboarding.toml").read_text()


def test_a_directory_that_is_not_there_is_made(tmp_path: Path) -> None:
    assert run("--sandbox", str(tmp_path / "new" / "place")).exit_code == 0
    assert load(tmp_path / "new" / "place" / "onboarding.toml", environ={})


def test_the_directory_is_this_one_if_none_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    result = run("--sandbox")

    assert result.output.splitlines()[0] == "wrote onboarding.toml"
    assert load(environ={}).directory == tmp_path


def test_the_facts_come_as_json(tmp_path: Path) -> None:
    facts = json.loads(run("--sandbox", "--json", str(tmp_path)).stdout)

    assert facts["config"] == str(tmp_path / "onboarding.toml")
    assert facts["kept"] == []
    assert len(facts["written"]) == 11
    assert facts["next"][0].startswith("onboard sandbox")


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    result = run("--sandbox", str(tmp_path / "file" / "below"))

    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.output
