"""docker-compose.yml against the code: its commands, ports, queues and variables."""

import shlex
import stat
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import click
import pytest
from celery.bin.celery import celery

from tests.deploy.compose_file import ROOT, ours, services
from worker.cli.commands.sandbox import sandbox
from worker.cli.registry import main_group
from worker.foundation.tls import Tls
from worker.runtime.celery_settings import QUEUES, computed
from worker.settings import load
from worker.settings.addresses import is_loopback
from worker.store.base.database import Database

KEY = "A" * 43 + "="
CONFIGURED = ["migrate", "worker", "beat", "bus", "web"]


def ports_of_the_sandbox() -> dict[str, int]:
    """The sandbox's default ports."""
    return {option.name: option.default for option in sandbox.params if option.name in ("port", "smtp_port")}


def parsed(group: click.Command, words: list[str]) -> dict[str, object]:
    """The parameters that Click reads from these words, down to the last command. Raises click.UsageError."""
    context = group.make_context(group.name, list(words), resilient_parsing=False, ignore_unknown_options=False)
    while isinstance(context.command, click.Group):
        name, command, rest = context.command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, rest, parent=context)
    assert context.args == []
    return context.params


def celery_words(command: list[str]) -> tuple[click.Command, list[str]]:
    """Celery's subcommand and its arguments."""
    program, option, application, *rest = command
    assert (program, option, application) == ("celery", "-A", "worker.app")
    rest = [word for word in rest if word != "--quiet"]
    return celery.commands[rest[0]], rest[1:]


def check_celery(command: list[str]) -> None:
    """Check that the command has every option. Parsing would need the application and its settings."""
    subcommand, words = celery_words(command)
    known = {option for parameter in subcommand.params for option in parameter.opts}
    assert known
    assert [word for word in words if word.startswith("-") and word not in known] == []


def shell_words(check: list[str]) -> list[str]:
    return shlex.split(check[1]) if check[0] == "CMD-SHELL" else check[1:]


def settings_of(name: str, tmp_path: Path, **environ: str):
    """The configuration as this service reads it; on this machine the files have other paths."""
    service = services(environ)[name]
    config = service["environment"]["ONBOARDING_CONFIG"]
    (mount,) = [mount for mount in service["volumes"] if mount.split(":")[1] == config]
    text = (ROOT / mount.split(":")[0]).read_text(encoding="utf-8")
    (key,) = [mount.split(":")[1] for mount in service["volumes"] if mount.startswith("key:")]
    assert f"{key}/onboarding.key" in text
    (tmp_path / "onboarding.key").write_text(KEY)
    here = tmp_path / "onboarding.toml"
    here.write_text(text.replace(key, str(tmp_path)))
    return load(environ=service["environment"] | {"ONBOARDING_CONFIG": str(here)})


@pytest.mark.parametrize("name", CONFIGURED)
def test_the_configuration_is_accepted_and_says_what_has_no_tls(name, tmp_path):
    (warning,) = settings_of(name, tmp_path).warnings

    assert warning.startswith("TLS is off for database, broker, bus ")


def test_the_database_is_the_postgres_service(tmp_path):
    postgres = services({"POSTGRES_PASSWORD": "other"})["postgres"]["environment"]
    url = urlsplit(settings_of("worker", tmp_path, POSTGRES_PASSWORD="other").database.url)

    assert (url.hostname, url.port) == ("postgres", 5432)
    assert url.username == postgres["POSTGRES_USER"]
    assert url.password == postgres["POSTGRES_PASSWORD"] == "other"
    assert url.path == f"/{postgres['POSTGRES_DB']}"


def test_the_database_may_be_anothers(tmp_path):
    url = "postgresql+psycopg://db.internal/other"

    database = settings_of("migrate", tmp_path, DATABASE_URL=url, DATABASE_TLS="verify").database

    assert (database.url, database.protection) == (url, Tls())


def test_the_database_url_names_a_driver_that_is_installed(tmp_path):
    Database(settings_of("worker", tmp_path).database.url).close()


def test_the_broker_is_the_rabbitmq_service(tmp_path):
    rabbitmq = services({"RABBITMQ_PASSWORD": "other"})["rabbitmq"]["environment"]
    url = urlsplit(settings_of("beat", tmp_path, RABBITMQ_PASSWORD="other").broker.url)

    assert (url.scheme, url.hostname, url.port) == ("amqp", "rabbitmq", 5672)
    assert url.username == rabbitmq["RABBITMQ_DEFAULT_USER"]
    assert url.password == rabbitmq["RABBITMQ_DEFAULT_PASS"] == "other"


def test_the_broker_may_be_the_redis_service_instead(tmp_path):
    assert "redis" in services()
    settings = settings_of("worker", tmp_path, BROKER_URL="redis://redis:6379/0")

    assert computed(settings)["broker_url"] == "redis://redis:6379/0"


def test_every_account_and_the_mail_server_are_the_sandbox_on_the_workers_own_loopback(tmp_path):
    settings = settings_of("worker", tmp_path)
    ports = ports_of_the_sandbox()
    urls = [urlsplit(account.base_url) for account in settings.accounts.values()]

    assert services()["worker"]["network_mode"] == "service:sandbox"
    assert {url.port for url in urls} == {ports["port"]}
    assert all(is_loopback(url.hostname) for url in urls)
    assert {url.path for url in urls} == {"/idenfy", "/frankieone"}
    assert settings.email.port == ports["smtp_port"]
    assert is_loopback(settings.email.host)


def test_the_credentials_are_those_that_the_sandbox_expects(tmp_path):
    from worker.sandbox import SandboxOptions

    accounts = settings_of("worker", tmp_path).accounts
    played = SandboxOptions()

    assert accounts["kyc"].api_key.reveal() == played.idenfy_key
    assert accounts["kyc"].api_secret.reveal() == played.idenfy_secret
    assert accounts["au"].api_key.reveal() == played.frankieone_key
    assert accounts["au"].customer_id.reveal() == played.frankieone_customer


def test_worker_and_beat_read_the_same_configuration():
    worker, beat = services()["worker"], services()["beat"]

    assert worker["environment"] == beat["environment"]
    assert worker["volumes"] == beat["volumes"]


def test_the_worker_is_celerys_and_serves_every_queue():
    command = services()["worker"]["command"]
    check_celery(command)
    subcommand, words = celery_words(command)

    assert subcommand.name == "worker"
    chosen = [word for word in words if word in ("-Q", "--queues", "-X", "--exclude-queues")]
    assert chosen == [] or set(words[words.index(chosen[0]) + 1].split(",")) == set(QUEUES)


def test_beat_is_celerys():
    command = services()["beat"]["command"]
    check_celery(command)

    assert celery_words(command)[0].name == "beat"


def test_the_workers_health_check_names_the_worker_itself():
    words = shell_words(services()["worker"]["healthcheck"]["test"])
    check_celery([word for word in words if word != "ping"])

    assert words[words.index("inspect") + 1] == "ping"
    assert words[words.index("--destination") + 1] == "celery@$(hostname)"
    assert float(words[words.index("--timeout") + 1]) < float(
        services()["worker"]["healthcheck"]["timeout"].removesuffix("s")
    )


def test_the_sandbox_listens_where_its_ports_are_published():
    service = services()["sandbox"]
    program, *words = service["command"]
    given = parsed(main_group, words)

    assert (program, words[0]) == ("onboard", "sandbox")
    assert given["host"] == "0.0.0.0"  # noqa: S104  # inside its container; published for this machine only
    assert {name: given[name] for name in ("port", "smtp_port")} == ports_of_the_sandbox()
    published = [port.split(":") for port in service["ports"]]
    assert [int(inside) for _, _, inside in published] == [given["port"], given["smtp_port"]]
    assert all(inside == outside for _, outside, inside in published)
    assert f"http://127.0.0.1:{given['port']}/" in service["healthcheck"]["test"][-1]


def test_web_listens_where_its_port_is_published_and_checked(tmp_path):
    service = services()["web"]
    (published,) = service["ports"]
    host, _, port = parsed(main_group, service["command"][1:])["bind"].rpartition(":")
    assert not is_loopback(host)  # only inside its own network
    assert published == f"127.0.0.1:{port}:{port}"
    assert f"http://127.0.0.1:{port}/readyz" in service["healthcheck"]["test"][-1]
    (key,) = settings_of("web", tmp_path, EVENTS_KEY="a-key-of-senders" * 2).web.senders["signup"].keys
    assert key.reveal() == "a-key-of-senders" * 2


def test_an_option_that_no_command_has_would_be_noticed():
    with pytest.raises(click.UsageError):
        parsed(main_group, ["sandbox", "--smtpport", "1"])
    with pytest.raises(AssertionError):
        check_celery(["celery", "-A", "worker.app", "worker", "--log-level", "info"])


def test_the_first_start_makes_a_key_for_its_owner_alone_and_the_next_ones_keep_it(tmp_path):
    program, flags, script = services()["migrate"]["command"]
    commands = [line.split()[:3] for line in script.replace("exec ", "").splitlines() if "onboard " in line]
    assert [(words[0], *words[1:3]) for words in commands] == [("onboard", "keys", "new"), ("onboard", "db", "upgrade")]
    for words in commands:
        parsed(main_group, words[1:])

    stand_in = tmp_path / "bin" / "onboard"
    stand_in.parent.mkdir()
    stand_in.write_text('#!/bin/sh\necho "$@" >> asked\necho "$1"\n')
    stand_in.chmod(0o755)
    environ = {"PATH": f"{stand_in.parent}:/usr/bin:/bin"}
    for _ in range(2):
        subprocess.run([program, flags, script], cwd=tmp_path, env=environ, check=True, capture_output=True)

    key = tmp_path / "onboarding.key"
    assert key.read_text() == "keys\n"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert (tmp_path / "asked").read_text().splitlines() == ["keys new", "db upgrade", "db upgrade"]


@pytest.mark.parametrize(("state", "code"), [("01", 0), ("0A", 1)], ids=["connected", "only listening"])
def test_beat_is_healthy_while_it_has_a_connection(state, code, tmp_path):
    kind, script = services()["beat"]["healthcheck"]["test"]
    table = tmp_path / "tcp"
    table.write_text(
        "  sl  local_address rem_address   st tx_queue rx_queue\n"
        f"   0: 0100007F:1538 0100007F:C350 {state} 00000000:00000000\n"
    )
    script = script.replace("/proc/net/tcp6", str(tmp_path / "none")).replace("/proc/net/tcp ", f"{table} ")

    assert kind == "CMD-SHELL"
    assert subprocess.run(["/bin/sh", "-c", script], check=False).returncode == code


def test_the_shipped_list_is_at_the_path_of_the_first_lines():
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    (mount,) = [mount.split(":") for mount in services()["worker"]["volumes"] if ":/lists" in mount]

    assert "onboard import /lists/customers.csv" in text
    assert (ROOT / mount[0] / "customers.csv").exists()


def test_our_services_run_one_image():
    assert sorted(ours()) == ["beat", "bus", "migrate", "sandbox", "web", "worker"]
    assert len({service["image"] for service in ours().values()}) == 1
