"""docker-compose.yml against the code: its commands, ports, queues and variables."""

import io
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import click
import pytest

from onboarding_sandbox.command import sandbox
from onboarding_worker.cli.registry import main_group
from onboarding_worker.core.database.database import Database
from onboarding_worker.core.foundation.features import FEATURES
from onboarding_worker.core.foundation.tls import is_loopback
from onboarding_worker.runtime.celery_app import needs_typed
from onboarding_worker.runtime.celery_settings import computed
from onboarding_worker.settings.load import load
from onboarding_worker.settings.model import Broker
from onboarding_worker.settings.needs import BEATING, EVERYTHING, SERVING, STORED, WAKING, Need, Needs
from onboarding_worker.settings.problems import SettingsError
from onboarding_worker.settings.queue_names import QUEUES
from tests.deploy.compose_file import ROOT, compose, fill_in, ours, secrets_of, services
from tests.desk.desk import Desk
from tests.suite.of_features import needs
from tests.suite.some import some
from trials.containers.page import commands

# What each service's command needs of the configuration's secrets.
# The ports in the URLs that `make secrets` writes.
POSTGRES, RABBITMQ = 5432, 5672
HAS_DASHBOARD = "dashboard" in FEATURES.here
NEEDS = {
    "migrate": frozenset({Need.DATABASE}),
    "worker": EVERYTHING,
    "beat": BEATING,
    "bus": WAKING | {Need.BUS},
    "web": SERVING,
    "report": STORED,
}


def ports_of_the_sandbox() -> dict[str, int]:
    """The sandbox's default ports."""
    return {option.name: option.default for option in sandbox.params if option.name in ("port", "smtp_port")}


def parsed(group: click.Command, words: list[str]) -> dict[str, object]:
    """The parameters that Click reads from these words, down to the last command. Raises click.UsageError."""
    context = group.make_context(group.name, list(words), resilient_parsing=False, ignore_unknown_options=False)
    while isinstance(context.command, click.Group) and (context._protected_args or context.args):
        name, command, rest = context.command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, rest, parent=context)
    assert context.args == []
    return context.params


def celery_words(command: list[str]) -> tuple[click.Command, list[str]]:
    """Celery's subcommand and its arguments."""
    program, option, application, *rest = command
    # Imported here: it loads a library for prompts, which each test process would load.
    from celery.bin.celery import celery

    assert (program, option, application) == ("celery", "-A", "onboarding_worker")
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


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The secrets that `make secrets` writes."""
    place = tmp_path_factory.mktemp("compose") / "my secrets"
    subprocess.run([ROOT / "deploy/make_secrets", place, place.with_name(".env")], check=True, capture_output=True)
    return place


def mounted(name: str, written: Path, **environ: str) -> dict[str, Path]:
    """The service's secrets: the file on this machine by the path inside the container."""
    everything = compose({"SECRETS": str(written), **environ})
    service = everything["services"][name]
    return {path: Path(everything["secrets"][secret]["file"]) for secret, path in secrets_of(service).items()}


def settings_of(
    name: str, place: Path, written: Path, *, without: str = "", needs: Needs | None = None, **environ: str
):
    """The configuration as this service reads it; on this machine the files have other paths."""
    service = services(environ)[name]
    config = service["environment"]["ONBOARDING_CONFIG"]
    (mount,) = [mount for mount in service["volumes"] if mount.split(":")[1] == config]
    text = (ROOT / mount.split(":")[0]).read_text(encoding="utf-8")
    inside = place / "run"
    inside.mkdir()
    for path, file in mounted(name, written, **environ).items():
        if path != without:
            shutil.copy(file, inside / Path(path).name)
    here = place / "onboarding.toml"
    text = text if HAS_DASHBOARD else re.sub(r"\[dashboard\]\n.*\n", "", text)
    here.write_text(text.replace("/run/secrets/", f"{inside}/"))
    return load(
        environ=service["environment"] | {"ONBOARDING_CONFIG": str(here)}, needs=NEEDS[name] if needs is None else needs
    )


@pytest.mark.parametrize("name", NEEDS)
def test_the_configuration_is_accepted_and_says_what_has_no_tls(name, tmp_path, written):
    (warning,) = settings_of(name, tmp_path, written).warnings

    assert warning.startswith("TLS is off for ")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (name, path)
        for name in NEEDS
        for path in secrets_of(services()[name]).values()
        if HAS_DASHBOARD or not path.endswith("/users.toml")
    ],
)
def test_a_service_starts_with_its_secrets_and_not_without_one_of_them(name, path, tmp_path, written):
    with pytest.raises(SettingsError, match=Path(path).name):
        settings_of(name, tmp_path, written, without=path)


def test_each_service_declares_the_needs_of_its_command():
    """What `NEEDS` says here is what tests/cli/every_command/test_needs.py checks of each command."""
    commands = {name: services()[name]["command"] for name in NEEDS}

    assert {name for name, command in commands.items() if command[0] == "celery"} == {"worker", "beat"}
    assert needs_typed(commands["worker"]) == NEEDS["worker"]
    assert needs_typed(commands["beat"]) == NEEDS["beat"]
    assert set(ours()) == {*NEEDS, "sandbox"}
    assert secrets_of(services()["sandbox"]) == {}


@pytest.mark.parametrize(("name", "role"), [("migrate", "migrate"), ("worker", "run"), ("web", "run"), ("bus", "run")])
def test_the_database_is_the_postgres_service_in_the_services_own_role(name, role, tmp_path, written):
    postgres = services()["postgres"]["environment"]
    url = urlsplit(settings_of(name, tmp_path, written).database.url)

    assert (url.hostname, url.port, url.username) == ("postgres", 5432, f"onboarding_{role}")
    assert url.password == (written / f"{role}_password").read_text().strip()
    assert url.path == f"/{postgres['POSTGRES_DB']}"
    assert f"/run/secrets/{role}_password" in mounted("postgres", written)


def test_a_database_of_another_machine_is_verified_unless_its_section_says_otherwise():
    """What says that TLS is off is next to the address, in the file that names both: no variable of Compose does."""
    text = (ROOT / "examples/onboarding.compose.toml").read_text(encoding="utf-8")

    assert not [name for name in services()["worker"]["environment"] if "TLS" in name or "URL" in name]
    assert text.count('tls = "off"') == 3
    assert "else leave it out" in text


def test_the_database_url_names_a_driver_that_is_installed(tmp_path, written):
    Database(settings_of("worker", tmp_path, written).database.url).close()


def test_the_broker_is_the_rabbitmq_service(tmp_path, written):
    url = urlsplit(settings_of("beat", tmp_path, written).broker.url)
    (login,) = mounted("rabbitmq", written).values()

    assert (url.scheme, url.hostname, url.port) == ("amqp", "rabbitmq", 5672)
    assert login.read_text().splitlines() == [f"default_user = {url.username}", f"default_pass = {url.password}"]


def test_the_broker_may_be_the_redis_service_instead_with_its_password(tmp_path, written):
    settings = settings_of("worker", tmp_path, written, BROKER="redis")
    (login,) = mounted("redis", written).values()
    url = urlsplit(computed(settings)["broker_url"])

    assert (url.scheme, url.hostname, url.port, url.path) == ("redis", "redis", 6379, "/0")
    assert login.read_text() == f"requirepass {url.password}\n"
    assert len(url.password) >= 32


@pytest.mark.parametrize(("environ", "broker"), [({}, "rabbitmq"), ({"BROKER": "redis"}, "redis")])
def test_one_broker_runs_and_the_services_wait_for_it(environ, broker, tmp_path):
    subprocess.run([ROOT / "deploy/make_secrets", tmp_path / "s", tmp_path / ".env"], check=True, capture_output=True)
    lines = dict(line.split("=", 1) for line in (tmp_path / ".env").read_text().splitlines())
    profiles = {fill_in(lines["COMPOSE_PROFILES"], environ)}
    both = {"rabbitmq", "redis"}
    runs = {name for name, one in services(environ).items() if profiles & set(one.get("profiles", profiles))}
    assert runs & both == {broker}
    for name in ("worker", "beat", "bus", "web"):
        waits = services(environ)[name]["depends_on"]
        assert [waits[one] for one in both] == [{"condition": "service_healthy", "required": False}] * 2


def test_every_account_and_the_mail_server_are_the_sandbox_on_the_workers_own_loopback(tmp_path, written):
    settings = settings_of("worker", tmp_path, written)
    ports = ports_of_the_sandbox()
    urls = [urlsplit(account.base_url) for account in settings.accounts.values()]

    assert services()["worker"]["network_mode"] == "service:sandbox"
    assert {url.port for url in urls} == {ports["port"]}
    assert all(is_loopback(url.hostname) for url in urls)
    assert {url.path for url in urls} == {"/idenfy", "/frankieone"}
    assert settings.sms.base_url == f"http://127.0.0.1:{ports['port']}/twilio"
    assert settings.email.server.port == ports["smtp_port"]
    assert is_loopback(settings.email.server.host)


def test_a_link_opens_the_sandboxs_page_as_published_and_what_follows_comes_to_web(tmp_path, written):
    settings = settings_of("worker", tmp_path, written)
    port, _, _ = services()["sandbox"]["ports"][0].removeprefix("127.0.0.1:").partition(":")
    reports = dict(parsed(main_group, services()["sandbox"]["command"][1:])["webhooks"])
    inside = services()["web"]["ports"][0].rpartition(":")[2]

    assert {account.link for account in settings.accounts.values()} == {f"http://127.0.0.1:{port}/verify/{{token}}"}
    for name, account in settings.accounts.items():
        assert reports[account.provider].startswith(f"http://web:{inside}/webhooks/{name}")
    (secret,) = settings.accounts["au"].webhook_secret
    assert reports["frankieone-v2"].endswith(f"/au/{secret.reveal()}")
    assert len(reports) == len(settings.accounts)


@needs("dashboard")
def test_the_pages_command_adds_a_user_to_the_file_that_web_reads(tmp_path, written, monkeypatch):
    (command,) = commands(ROOT / "docs/how-to/compose.md", "onboard users add")
    secrets = tmp_path / "secrets"
    shutil.copytree(written, secrets)
    monkeypatch.setattr("sys.stdin", io.StringIO("operators-password\n"))

    added = Desk(tmp_path).onboard(*command.split()[1:])

    assert added.code == 0
    web = settings_of("web", tmp_path, secrets)
    assert [*web.dashboard.users] == ["ona"]


def test_each_row_of_the_list_that_the_page_imports_has_an_account_and_a_sender(tmp_path, written):
    settings_of("worker", tmp_path, written)
    desk = Desk(tmp_path, {"ONBOARDING__DATABASE__URL": f"sqlite:///{tmp_path}/compose.db"})
    desk.config.write_text(desk.config.read_text().replace('tls = "off"', "", 1))

    checked = desk.onboard("check", str(ROOT / "examples/customers.csv"), "--json")

    assert (checked.facts["rows"]["rejected"], set(checked.facts["routes"])) == (0, {"kyc", "kyb", "au"})


def test_the_credentials_are_those_that_the_sandbox_expects(tmp_path, written):
    from onboarding_sandbox import SandboxOptions

    settings = settings_of("worker", tmp_path, written)
    accounts, sms = settings.accounts, settings.sms
    played = SandboxOptions()

    assert accounts["kyc"].api_key.reveal() == played.idenfy_key
    assert accounts["kyc"].api_secret.reveal() == played.idenfy_secret
    assert accounts["au"].api_key.reveal() == played.frankieone_key
    assert accounts["au"].customer_id.reveal() == played.frankieone_customer
    assert (sms.account, sms.token.reveal()) == (played.twilio_account, played.twilio_token)


def test_worker_and_beat_read_the_same_configuration():
    worker, beat = services()["worker"], services()["beat"]

    assert worker["environment"] == beat["environment"]
    assert set(beat["volumes"]) <= set(worker["volumes"])


def test_the_worker_is_celerys_and_serves_every_queue():
    command = services()["worker"]["command"]
    check_celery(command)
    subcommand, words = celery_words(command)

    assert subcommand.name == "worker"
    chosen = [word for word in words if word in ("-Q", "--queues", "-X", "--exclude-queues")]
    every = {Broker.model_fields["prefix"].default + queue for queue in QUEUES}
    assert chosen == [] or set(words[words.index(chosen[0]) + 1].split(",")) == every


def test_beat_is_celerys():
    command = services()["beat"]["command"]
    check_celery(command)

    assert celery_words(command)[0].name == "beat"


def test_the_workers_health_check_looks_for_the_file_that_it_touches():
    worker = services()["worker"]
    words = shell_words(worker["healthcheck"]["test"])

    assert words[:2] == ["find", worker["environment"]["ONBOARDING_ALIVE_FILE"]]


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


def test_web_listens_where_its_port_is_published_and_checked(tmp_path, written):
    service = services()["web"]
    (published,) = service["ports"]
    host, _, port = parsed(main_group, service["command"][1:])["bind"].rpartition(":")
    assert not is_loopback(host)  # only inside its own network
    assert published == f"127.0.0.1:{port}:{port}"
    assert f"http://127.0.0.1:{port}/readyz" in service["healthcheck"]["test"][-1]
    (key,) = settings_of("web", tmp_path, written).web.senders["signup"].keys
    assert key.reveal() == (written / "events_key").read_text().strip()


def test_an_option_that_no_command_has_would_be_noticed():
    with pytest.raises(click.UsageError):
        parsed(main_group, ["sandbox", "--smtpport", "1"])
    with pytest.raises(AssertionError):
        check_celery(["celery", "-A", "onboarding_worker", "worker", "--log-level", "info"])


def test_the_schema_is_upgraded_and_then_the_roles_have_their_rights():
    program, flags, script = services()["migrate"]["command"]
    lines = [line.removeprefix("exec ").split() for line in script.splitlines() if line]
    given = parsed(main_group, lines[1][1:])
    made = (ROOT / "deploy/roles.sql").read_text(encoding="utf-8")

    assert (program, flags) == ("sh", "-euc")
    assert lines[0] == ["onboard", "db", "upgrade"]
    assert lines[1][:3] == ["onboard", "db", "grant"]
    assert [f"CREATE ROLE {given[kind]} " in made for kind in ("run", "report")] == [True, True]


def test_every_command_of_ours_is_one_that_the_command_line_has():
    for name, service in some(ours().items()):
        program, *words = service["command"]
        if program == "onboard":
            parsed(main_group, words)
        else:
            assert program in ("celery", "sh"), name


@pytest.mark.parametrize(
    ("name", "port", "state", "code"),
    [
        ("beat", RABBITMQ, "01", 0),
        ("beat", RABBITMQ, "0A", 1),
        ("bus", RABBITMQ, "01", 0),
        ("bus", RABBITMQ, "08", 1),
        ("bus", POSTGRES, "01", 1),
    ],
    ids=["beat connected", "beat not", "bus connected", "bus not", "bus to the database alone"],
)
def test_beat_and_the_bus_are_healthy_while_they_have_a_connection_to_the_broker(name, port, state, code, tmp_path):
    kind, script = services()[name]["healthcheck"]["test"]
    table = tmp_path / "tcp"
    table.write_text(
        "  sl  local_address rem_address   st tx_queue rx_queue\n"
        f"   0: 0100007F:C350 0100007F:{port:04X} {state} 00000000:00000000\n"
    )
    script = script.replace("/proc/net/tcp6", str(tmp_path / "none")).replace("/proc/net/tcp ", f"{table} ")

    assert kind == "CMD-SHELL"
    assert subprocess.run(["/bin/sh", "-c", script], check=False).returncode == code


def test_the_shipped_list_is_at_the_path_of_the_first_lines():
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    (mount,) = [mount.split(":") for mount in services()["worker"]["volumes"] if ":/lists" in mount]

    assert "onboard import /lists/customers.csv" in text
    assert (ROOT / mount[0] / "customers.csv").exists()


def test_our_services_run_one_image_and_the_sandbox_another():
    images = {name: (service["image"], service["build"]["target"]) for name, service in ours().items()}
    sandbox = images.pop("sandbox")

    assert sorted(images) == ["beat", "bus", "migrate", "report", "web", "worker"]
    assert set(images.values()) == {("onboarding-worker:0.1.0", "production")}
    assert sandbox == ("onboarding-sandbox:0.1.0", "sandbox")
