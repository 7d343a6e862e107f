"""`make containers`: how it reads docker-compose.yml, the pods of Kubernetes and a page. It starts none here."""

from pathlib import Path

import pytest

from tests.deploy.compose_file import ROOT, compose, services
from trials.containers import pods
from trials.containers.arguments import Place, arguments, unused
from trials.containers.compose_file import chosen, environ_of, fill_in, seconds, waits_for, words_of
from trials.containers.kept_secret import seen
from trials.containers.page import commands, first_block


def place() -> Place:
    everything = compose()
    return Place(
        name="trial",
        folder=Path("/checkout"),
        ports={"8080": 1, "9200": 2, "9225": 3},
        secrets={name: one["file"] for name, one in everything["secrets"].items()},
        volumes=frozenset(everything["volumes"]),
    )


def test_a_variable_of_dot_env_may_name_one_of_the_shell():
    text = "SECRETS_GROUP=7\n# a comment\nCOMPOSE_PROFILES=${BROKER:-rabbitmq}\n"

    assert environ_of(text, {}) == {"SECRETS_GROUP": "7", "COMPOSE_PROFILES": "rabbitmq"}
    assert environ_of(text, {"BROKER": "redis"})["COMPOSE_PROFILES"] == "redis"


def test_a_form_of_variables_that_is_not_known_is_refused():
    assert fill_in("${A:-${B:-c}} $$1", {"B": "b"}) == "b $1"
    with pytest.raises(ValueError, match="not "):
        fill_in("$A", {"A": "a"})


@pytest.mark.parametrize("broker", ["rabbitmq", "redis"])
def test_each_service_starts_after_those_that_it_waits_for_and_one_broker_runs(broker: str):
    order = chosen(services(), [broker])

    assert {*order} == {"postgres", broker, "migrate", "sandbox", "worker", "beat", "bus", "web"}
    for name in order:
        assert all(order.index(one) < order.index(name) for one in waits_for(services()[name]) if one in order)
    assert waits_for({"network_mode": "service:sandbox"}) == {"sandbox": "service_started"}


def test_a_service_is_confined_as_the_file_says():
    told = " ".join(arguments("web", services()["web"], place()))

    for said in (
        "--read-only=true --read-only-tmpfs=false",
        "--cap-drop ALL",
        "--security-opt no-new-privileges:true",
        "--user 10001:10001",
        "--group-add 10001",
        "--memory 512m",
        "--init=true",
        "--stop-timeout 60",
        "--tmpfs /tmp:mode=1777,size=64m",
        "--publish 127.0.0.1:1:8080",
        "--volume /checkout/secrets/events_key:/run/secrets/events_key:ro",
        "--volume trial-web-scratch:/var/tmp",
        "--env ONBOARDING_CONFIG=/etc/onboarding/onboarding.toml",
        "--network trial --network-alias web --name trial-web-1",
    ):
        assert said in told


def test_a_folder_of_another_owner_is_given_to_the_containers_user_and_a_network_may_be_shared():
    assert "/var/run/postgresql:U,mode=0775" in arguments("postgres", services()["postgres"], place())
    worker = arguments("worker", services()["worker"], place())
    assert worker[worker.index("--network") + 1] == "container:trial-sandbox-1"


def test_a_key_that_is_not_used_is_named():
    everything = compose()
    known = unused(everything)
    everything["services"]["web"] |= {
        "pid": "host",
        "healthcheck": everything["services"]["web"]["healthcheck"] | {"x": 1},
    }

    assert known == ["services.worker.depends_on.sandbox.restart"]
    assert {*unused(everything)} - {*known} == {"services.web.pid", "services.web.healthcheck.x"}


def test_durations_and_health_checks_are_read():
    assert seconds("1m30s") == 90
    assert words_of(["CMD", "true"]) == ["true"]
    assert words_of(["CMD-SHELL", "a | b"]) == ["sh", "-c", "a | b"]


@pytest.mark.parametrize("name", ["worker", "web", "beat", "migrate"])
def test_a_pod_is_confined_as_its_file_says(name: str):
    pod = pods.read(ROOT / "deploy/kubernetes", name)
    told = " ".join(pods.arguments(pod, {one["name"]: f"/here/{one['name']}" for one in pod["volumes"]}))

    assert told.startswith(
        "--user 10001:10001 --group-add 10001 --read-only=true --read-only-tmpfs=false --cap-drop ALL"
    )
    assert "--security-opt no-new-privileges:true" in told
    assert "--tmpfs /tmp:mode=0777,size=64m" in told
    assert "--volume /here/config:/etc/onboarding:ro" in told


def test_a_secret_that_can_be_read_is_named_and_where_not_its_value():
    texts = {"the log": "password=abc", "inspect": "nothing"}

    assert seen({"run_password": "abc", "other": "xyz"}, texts) == ["run_password in the log"]


def test_a_pages_commands_are_found(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("# A\n\n    make a b\n    docker compose up   # why\n\nThen `docker compose\ndown`.\n\n    other\n")

    assert first_block(page) == ["make a b", "docker compose up   # why"]
    assert commands(page, "docker compose") == ["docker compose up", "docker compose down"]
