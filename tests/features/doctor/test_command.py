"""`onboard doctor` says of each part of the installation whether it works, and changes nothing."""

import json
import shutil
import socket
import ssl
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import uuid4

import pytest
import redis
import sqlalchemy as sa
import trustme
from kombu import Connection, Producer, Queue

from onboarding_sandbox import Fault
from onboarding_worker.events.brokers import connection as broker
from tests.cli.accounts.test_preflight import with_login
from tests.desk.desk import Desk, Ended, customers
from tests.desk.tls_front import TlsFront, at_once, http


def findings(ended: Ended) -> Mapping[str, list[tuple[str, str, str]]]:
    """By what was checked: grade, what was found, what to do."""
    by: dict[str, list[tuple[str, str, str]]] = {}
    for one in json.loads(ended.out)["findings"]:
        by.setdefault(one["what"], []).append((one["grade"], one["found"], one["action"]))
    return by


def grades(ended: Ended) -> dict[str, str]:
    return {what: found[0][0] for what, found in findings(ended).items()}


def with_broker(desk: Desk, url: str) -> None:
    desk.secret("broker", url)
    desk.add('[broker]\nurl = { file = "secrets/broker" }\n')


def test_where_all_is_well_each_part_has_its_line_and_nothing_is_opened(desk: Desk, played):
    desk.onboard("import", desk.list_of(customers(1)))
    ended = desk.onboard("doctor")
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert f"ok       configuration: {desk.config}" in lines
    for what in ("database", "keys", "disk", "broker", "email", "accounts.kyc", "templates"):
        assert any(line.startswith(f"ok       {what}: ") for line in lines), what
    assert f"ok       email: 127.0.0.1:{played.sandbox.smtp_port}: works" in lines
    assert " checks: 0 failures, " in lines[-1]
    assert played.opened.total() == 0


def test_work_that_is_due_and_that_no_process_does_is_a_warning(desk: Desk):
    desk.onboard("import", desk.list_of(customers(1)))
    (found,) = findings(desk.onboard("doctor", "--json"))["processes"]
    assert (found[0], found[2]) == ("warning", "start `onboard up`")


def test_a_proxy_that_must_be_there_and_is_not_named_is_a_warning(desk: Desk):
    def of_web() -> list[str]:
        return [grade for grade, found, _ in findings(desk.onboard("doctor", "--json"))["web"] if "https" in found]

    desk.config.write_text(desk.config.read_text() + '[web]\nbase_url = "https://onboard.example.com"\n')
    assert of_web() == ["warning"]
    desk.environ["ONBOARDING__WEB__TRUSTED_PROXIES"] = '["127.0.0.1"]'
    assert of_web() == []


def test_an_account_whose_webhooks_can_not_be_verified_is_named_with_its_key(desk: Desk):
    desk.environ["PUBLIC_KEY"] = "x" * 40
    desk.environ["ONBOARDING__ACCOUNTS__AU__JWT_KEY"] = '[{ "env": "PUBLIC_KEY" }]'
    desk.environ["ONBOARDING__ACCOUNTS__AU__WEBHOOK_SECRET"] = "[]"
    found = findings(desk.onboard("doctor", "--json"))["web"]
    assert [grade for grade, said, _ in found if "accounts.au.jwt_key" in said] == ["warning"]
    assert "x" * 40 not in str(found)


def test_a_server_that_takes_no_writes_is_a_failure_and_what_is_read_is_checked_all_the_same(
    desk: Desk, empty_postgresql_url: str
):
    desk.environ["ONBOARDING__DATABASE__URL"] = empty_postgresql_url
    desk.onboard("import", desk.list_of(customers(1)))
    desk.environ["ONBOARDING__DATABASE__URL"] += "?options=-c%20default_transaction_read_only%3Don"
    ended = desk.onboard("doctor", "--json")
    found = findings(ended)
    assert ended.code == 1
    grade, why, action = found["database"][-1]
    assert (grade, why.endswith(": the database server is read-only, or a standby")) == ("failure", True)
    assert action == "let it take writes, or name the server that takes them in [database] url"
    assert found["processes"][0][2] == "none can work until the database takes writes"
    assert "`onboard doctor`" not in [action for every in found.values() for _, _, action in every]
    assert found["keys"][0][0] == "ok"


def test_a_wrong_password_is_a_failure_that_says_what_to_correct_and_does_not_show_it(desk_at, play):
    played = play(smtp_user="me", smtp_password="right")
    desk = desk_at(played)
    with_login(desk, played, "wrong-secret")
    ended = desk.onboard("doctor", "--json")
    (found,) = findings(ended)["email"]
    assert (ended.code, found[0]) == (1, "failure")
    assert "SMTP 535 5.7.8 at AUTH" in found[1]
    assert "wrong-secret" not in ended.out + ended.err


def test_an_account_at_its_limit_is_no_fault_of_its_credentials(desk_at, play):
    desk = desk_at(play(faults=(Fault.parse("429:1"),)))
    (found,) = findings(desk.onboard("doctor", "--json"))["accounts.kyc"]
    assert found[0] == "warning"
    assert "works, and its limit is used up now" in found[1]


def test_a_refused_key_is_named_for_each_account_that_has_it_and_a_closed_port_is_not_its_fault(desk_at, play):
    desk = desk_at(play(faults=(Fault.parse("401:1"),)))
    found = findings(desk.onboard("doctor", "--json"))
    for account in ("kyc", "kyc-lt", "kyb"):  # kyb's provider has no free call: kyc's answer is for both
        ((grade, _, helps),) = found[f"accounts.{account}"]
        assert (grade, f"accounts.{account}.api_key (the file secrets/idenfy_key)" in helps) == ("failure", True)

    desk.environ["ONBOARDING__ACCOUNTS__KYC__BASE_URL"] = "http://127.0.0.1:1"
    ((grade, words, helps),) = findings(desk.onboard("doctor", "--json"))["accounts.kyc"]
    assert (grade, words) == ("failure", "127.0.0.1:1: connection refused or not possible")
    assert "api_key" not in helps


AUTHORITY = trustme.CA()
CERTIFICATES = {
    "its authority is unknown here": (
        trustme.CA().issue_cert("localhost"),
        "if the authority is your own, name it in [accounts.au] ca; else let the server send its whole chain",
    ),
    "(expired)": (
        AUTHORITY.issue_cert("localhost", not_after=datetime(2026, 1, 1, tzinfo=UTC)),
        "let those who run the server renew its certificate",
    ),
    "(not valid yet, or this machine's clock is slow)": (
        AUTHORITY.issue_cert("localhost", not_before=datetime(2999, 1, 1, tzinfo=UTC)),
        "look at this machine's clock; if it is right, let those who run the server renew its certificate",
    ),
    "certificate for another host name": (
        AUTHORITY.issue_cert("other.example"),
        "write the host name that the certificate has into [accounts.au], or let the server present another",
    ),
}


def doctor_on_au(desk: Desk, certificate: trustme.LeafCert) -> tuple[tuple[str, str, str], TlsFront]:
    """What doctor finds of the account `au`, whose server has this certificate, and the server."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(tls)
    AUTHORITY.cert_pem.write_to_path(str(desk.config.parent / "ca.pem"))
    front = TlsFront(tls, at_once, http)
    desk.environ["ONBOARDING__ACCOUNTS__AU__BASE_URL"] = f"https://localhost:{front.port}"
    desk.change("[accounts.au]", '[accounts.au]\nca = { file = "ca.pem" }')
    try:
        (found,) = findings(desk.onboard("doctor", "--json"))["accounts.au"]
    finally:
        front.close()
    return found, front


@pytest.mark.parametrize("words", CERTIFICATES)
def test_a_certificate_is_looked_at_where_no_call_can_be_made_and_each_fault_has_its_own_step(desk: Desk, words: str):
    certificate, step = CERTIFICATES[words]
    found, _ = doctor_on_au(desk, certificate)
    assert (found[0], words in found[1], found[2]) == ("failure", True, step)


def test_a_provider_without_a_free_call_is_connected_to_and_told_nothing(desk: Desk):
    found, front = doctor_on_au(desk, AUTHORITY.issue_cert("localhost"))
    assert found[0] == "ok"
    assert "can be reached; not asked more" in found[1]
    assert len(front.inside) == 1
    assert front.heard == 0


def test_a_provider_that_cannot_be_reached_is_a_failure_though_it_has_no_free_call(desk: Desk):
    desk.environ["ONBOARDING__ACCOUNTS__AU__BASE_URL"] = "http://127.0.0.1:1/frankieone"
    (found,) = findings(desk.onboard("doctor", "--json"))["accounts.au"]
    assert found[:2] == ("failure", "127.0.0.1:1: connection refused or not possible")


def test_a_broker_that_does_not_answer_is_a_failure_without_its_password(desk: Desk):
    with_broker(desk, "amqp://guest:hidden-word@127.0.0.1:1//")
    ended = desk.onboard("doctor", "--json")
    (found,) = findings(ended)["broker"]
    assert (ended.code, found[0], found[1].startswith("127.0.0.1:1: ")) == (1, "failure", True)
    assert "hidden-word" not in ended.out + ended.err
    assert grades(ended)["email"] == "ok"  # the other parts are checked all the same


def test_a_broker_that_refuses_the_password_says_so(desk: Desk, amqp_url: str):
    with_broker(desk, amqp_url.replace("guest:guest", "guest:hidden-word"))
    (found,) = findings(desk.onboard("doctor", "--json"))["broker"]
    assert (found[0], found[1].partition(": ")[2]) == ("failure", "it refuses the user or the password")


def test_a_virtual_host_that_is_not_there_is_named_as_that(desk: Desk, amqp_url: str):
    with_broker(desk, amqp_url.rstrip("/") + "/not-there")
    (found,) = findings(desk.onboard("doctor", "--json"))["broker"]
    assert found[1].partition(": ")[2] == "it has no such virtual host, or this user may not use it"


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_broker_that_hangs_is_a_failure_in_bounded_time(desk: Desk, monkeypatch: pytest.MonkeyPatch, scheme: str):
    """The log of a worker sends people to doctor when a broker hangs: doctor must not hang with it."""
    monkeypatch.setattr(broker, "SILENT_SECONDS", 0.2)
    monkeypatch.setattr(broker, "CONNECT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        desk.add(f'[broker]\nurl = "{scheme}://127.0.0.1:{port}/"\n')
        (found,) = findings(desk.onboard("doctor", "--json"))["broker"]
    assert found[:2] == ("failure", f"127.0.0.1:{port}: no answer in time")


def test_a_broker_that_answers_and_takes_no_messages_is_a_failure(desk: Desk, own_redis):
    """`status` names doctor when no wake-up comes: it must not find all well."""
    desk.add(f'[broker]\nurl = "{own_redis.url}"\n')
    with own_redis.client() as client:
        client.config_set("maxmemory", "1kb")  # it has more in use when it is empty
        (found,) = findings(desk.onboard("doctor", "--json"))["broker"]
        assert (found[0], found[1].partition(" ")[2]) == (
            "failure",
            "answers, and takes no messages: its memory is full",
        )
        client.config_set("maxmemory", "0")
        (found,) = findings(desk.onboard("doctor", "--json"))["broker"]
        assert (found[0], found[1].endswith(" answers")) == ("ok", True)
        assert not client.keys("*doctor*")


def test_a_redis_that_refuses_the_password_says_so(desk: Desk, own_redis):
    """kombu wraps what Redis says."""
    with own_redis.client() as client:
        client.config_set("requirepass", "another")
    with_broker(desk, own_redis.url.replace("redis://", "redis://:hidden-word@"))
    ended = desk.onboard("doctor", "--json")
    (found,) = findings(ended)["broker"]
    assert (found[0], found[1].partition(": ")[2]) == ("failure", "it refuses the user or the password")
    assert "hidden-word" not in ended.out + ended.err


def test_of_a_dead_queue_it_is_said_that_it_holds_notices_and_how_they_are_removed(desk: Desk, redis_url: str):
    queue = f"doctor-{uuid4().hex}"
    dead = f"{queue}.dead"
    desk.secret("bus", redis_url)
    desk.add(f'[bus]\nurl = {{ file = "secrets/bus" }}\nqueue = "{queue}"\n')
    with redis.Redis.from_url(redis_url) as client:
        client.xadd(dead, {"id": "a notice"})
        found = findings(desk.onboard("doctor", "--json"))
        client.delete(dead)
    ((grade, words, action),) = found[f"queue {dead}"]
    assert (grade, words) == ("warning", "1 notice of refused events")
    assert action.endswith("docs/reference/bus.md says how to remove the notices")


def test_each_queue_has_a_line_with_its_depth_and_its_consumers(desk: Desk, amqp_url: str):
    with_broker(desk, amqp_url)
    with Connection(amqp_url) as broker, broker.channel() as channel:
        queues = [
            Queue(name, queue_arguments={"x-expires": 60_000}).bind(channel)
            for name in ("onboarding.issue", "onboarding.invite")
        ]
        for queue in queues:
            queue.queue_declare()
        Producer(channel).publish({}, routing_key="onboarding.issue", mandatory=True)
        queues[1].consume(callback=print)
        found = findings(desk.onboard("doctor", "--json"))
        for queue in queues:
            queue.delete()
    (issue,), (invite,), (sweep,) = (found[f"queue onboarding.{name}"] for name in ("issue", "invite", "sweep"))
    assert issue[0] == "warning"
    assert "0 consumers: no sessions are opened" in issue[1]
    assert issue[2] == "start `onboard worker`; if one runs, its log says why it takes nothing"
    assert invite == ("ok", "0 messages, 1 consumer", "")
    assert (sweep[0], sweep[2]) == ("warning", "start `onboard worker`, which makes it")
    assert found["queue requests"][0][0] == "ok"
    assert "queue onboarding.tell" not in found  # nothing is published


def test_redis_says_how_much_waits_and_not_who_consumes(desk: Desk, own_redis):
    desk.add(f'[broker]\nurl = "{own_redis.url}"\n')
    (found,) = findings(desk.onboard("doctor", "--json"))["queue onboarding.issue"]
    assert found == ("ok", "0 messages; Redis does not say which processes consume it", "")


def test_each_language_in_use_is_rendered_and_one_without_texts_is_a_warning(desk: Desk):
    (found,) = findings(desk.onboard("doctor", "--json"))["languages"]
    assert found[:2] == ("ok", "en, the default: each message was rendered")
    rows = [{**customer, "locale": locale} for customer, locale in zip(customers(3), ["lt", "pl", "pl"], strict=True)]
    desk.onboard("import", desk.list_of(rows))
    (found,) = findings(desk.onboard("doctor", "--json"))["languages"]
    assert found[:2] == ("warning", "2 rows with locale pl: no texts in that language, so in en")


def test_a_configuration_that_cannot_be_read_is_one_failure_a_problem(desk: Desk):
    desk.add('[email]\nurl = "nonsense"\n[nowhere]\nx = 1\n')
    ended = desk.onboard("doctor", "--json")
    assert ended.code == 2
    assert set(findings(ended)) == {"configuration"}
    assert {grade for grade, _, _ in findings(ended)["configuration"]} == {"failure"}


def test_a_value_that_only_fails_beside_another_is_a_failure_of_the_configuration(desk: Desk):
    desk.add('[worker]\nlease = "30 s"\n')
    ended = desk.onboard("doctor", "--json")
    assert ended.code == 2
    assert [found for _, found, _ in findings(ended)["configuration"]] == [
        "worker.lease: 30 s is too short for email.timeout = 30 s; write at least 40 s"
    ]


def test_a_missing_secret_is_named(desk: Desk):
    (desk.path / "secrets" / "twilio_token").unlink()
    ended = desk.onboard("doctor", "--json")
    assert ended.code == 2
    assert any("sms.token" in found for _, found, _ in findings(ended)["configuration"])


def test_without_a_database_file_none_is_made(desk: Desk):
    desk.without_database()
    ended = desk.onboard("doctor", "--json")
    assert (ended.code, grades(ended)["database"]) == (0, "warning")
    assert not (desk.path / "onboarding.db").exists()


def test_a_database_of_another_release_is_a_failure(desk: Desk):
    desk.sql("UPDATE alembic_version SET version_num = '9999'")
    (found,) = findings(desk.onboard("doctor", "--json"))["database"]
    assert found[0] == "failure"
    assert "upgrade the worker" in found[1]


def test_a_server_without_a_free_connection_is_not_said_to_be_away(desk: Desk, empty_postgresql_url: str):
    role = f"doctor_{uuid4().hex}"
    url = sa.make_url(empty_postgresql_url)
    server = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    others = sa.create_engine(url.set(username=role), poolclass=sa.NullPool)
    desk.environ["ONBOARDING__DATABASE__URL"] = url.set(username=role).render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 1")
        try:
            with others.connect():
                ended = desk.onboard("doctor", "--json")
        finally:
            connection.exec_driver_sql(f"DROP ROLE {role}")
    server.dispose()
    (found,) = findings(ended)["database"]
    assert (found[0], found[1].endswith("or raise max_connections)")) == ("failure", True)


@pytest.mark.parametrize(("free", "grade"), [(50 << 20, "failure"), (500 << 20, "warning"), (5 << 30, "ok")])
def test_little_space_is_a_warning_and_none_a_failure(desk: Desk, monkeypatch, free: int, grade: str):
    usage = type(shutil.disk_usage("."))(100 << 30, 0, free)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert grades(desk.onboard("doctor", "--json"))["disk"] == grade


def test_with_a_server_the_space_that_counts_is_that_of_temporary_files(
    desk: Desk, empty_postgresql_url: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
):
    small = str(tmp_path_factory.mktemp("small"))
    usage = type(shutil.disk_usage("."))
    monkeypatch.setattr(tempfile, "tempdir", small)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage(9 << 30, 0, 0 if str(place) == small else 9 << 30))
    assert grades(desk.onboard("doctor", "--json"))["disk"] == "ok"

    desk.environ["ONBOARDING__DATABASE__URL"] = empty_postgresql_url
    assert grades(desk.onboard("doctor", "--json"))["disk"] == "failure"


def test_a_template_that_cannot_be_rendered_is_a_failure(desk: Desk):
    (desk.path / "own" / "default" / "en").mkdir(parents=True)
    desk.write("own/default/en/subject.txt", "{{ unknown }}")
    desk.add('[invitations]\ntemplates = "own"\n')
    ended = desk.onboard("doctor", "--json")
    assert (ended.code, grades(ended)["templates"]) == (1, "failure")


def test_egress_lists_each_machine_once_a_section_with_its_port(desk: Desk, played):
    ended = desk.onboard("doctor", "--egress")
    assert ended.code == 0
    assert f"127.0.0.1:{played.sandbox.smtp_port}  smtp  [email]  (this machine)" in ended.out.splitlines()
    found = json.loads(desk.onboard("doctor", "--egress", "--json").out)["destinations"]
    assert {"section": "email", "host": "127.0.0.1", "port": played.sandbox.smtp_port, "scheme": "smtp"} in found
