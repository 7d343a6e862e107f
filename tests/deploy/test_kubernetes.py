"""The Kubernetes example: what its pods may do, which secrets each has, and where they may connect to."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from onboarding_worker.cli.registry import main_group
from onboarding_worker.core.foundation.keyring import new_key
from onboarding_worker.settings.load import load
from onboarding_worker.settings.needs import BEATING, EVERYTHING, SERVING, Needs
from onboarding_worker.settings.problems import SettingsError
from tests.deploy.compose_file import ROOT

FOLDER = ROOT / "deploy/kubernetes"
# The port that the address in each secret has, by the secret.
ADDRESSES = {
    "database/url": "postgresql+psycopg://onboarding_run:x@postgres.example.internal:5432/onboarding",
    "broker/url": "amqps://onboarding:x@rabbitmq.example.internal:5671//",
    "sending/smtp_url": "smtp+starttls://user:x@smtp.example.com:587",
}


def manifests() -> list[dict[str, Any]]:
    listed = yaml.safe_load((FOLDER / "kustomization.yaml").read_text("utf-8"))["resources"]
    return [one for name in listed for one in yaml.safe_load_all((FOLDER / name).read_text("utf-8"))]


def test_the_api_of_kubernetes_accepts_each_of_its_own_kinds():
    tool = shutil.which("kubernetes-validate", path=ROOT / ".venv-audit/bin")
    if tool is None:
        pytest.skip("`make manifests` has not installed its tool")
    files = [str(path) for path in FOLDER.glob("*.yaml")]
    ended = subprocess.run([tool, "--strict", *files], capture_output=True, text=True, timeout=60, check=False)

    assert ended.returncode == 0, ended.stdout + ended.stderr


def of_kind(*kinds: str) -> dict[str, dict[str, Any]]:
    """The specifications of these kinds, by name."""
    return {one["metadata"]["name"]: one["spec"] for one in manifests() if one["kind"] in kinds}


def pods() -> dict[str, dict[str, Any]]:
    """The pods' specifications, by the name of their deployment or job."""
    return {name: spec["template"]["spec"] for name, spec in of_kind("Deployment", "Job").items()}


def test_each_file_of_the_folder_is_used():
    there = {path.name for path in FOLDER.iterdir()}
    listed = yaml.safe_load((FOLDER / "kustomization.yaml").read_text("utf-8"))

    assert there == {*listed["resources"], "kustomization.yaml", "onboarding.toml"}
    assert listed["configMapGenerator"] == [{"name": "onboarding", "files": ["onboarding.toml"]}]
    assert listed["images"][0]["newTag"] in (ROOT / "pyproject.toml").read_text("utf-8")


@pytest.mark.parametrize("name", ["worker", "beat", "web", "migrate"])
def test_no_pod_may_write_to_its_image_gain_rights_or_reach_the_cluster(name: str):
    pod = pods()[name]
    (container,) = pod["containers"]

    assert pod["automountServiceAccountToken"] is False
    assert (pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["runAsUser"]) == (True, 10001)
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"]["memory"]
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}
    modes = {volume["secret"]["defaultMode"] for volume in pod["volumes"] if "secret" in volume}
    assert modes == {0o440}


@pytest.mark.parametrize("name", ["worker", "web"])
def test_a_pod_that_reads_lists_has_a_disk_where_the_image_keeps_large_files(name: str):
    pod = pods()[name]
    (volume,) = (one["name"] for one in pod["containers"][0]["volumeMounts"] if one["mountPath"] == "/var/tmp")  # noqa: S108
    (disk,) = (one["emptyDir"] for one in pod["volumes"] if one["name"] == volume)

    assert "medium" not in disk
    assert disk["sizeLimit"] == "8Gi"


@pytest.mark.parametrize("name", ["worker", "beat", "web", "migrate"])
def test_each_pod_runs_a_command_that_there_is(name: str):
    command = " ".join(pods()[name]["containers"][0]["command"])
    named = re.findall(r"\bonboard (\w+)", command)

    assert named
    assert set(named) <= set(main_group.list_commands(None))


def given(folder: Path, pod: dict[str, Any]) -> Path:
    """The configuration, with a file for each of its secrets that the pod has, and for no other."""
    text = (FOLDER / "onboarding.toml").read_text("utf-8")
    has = {mount["mountPath"].removeprefix("/run/secrets/") for mount in pod["containers"][0]["volumeMounts"]}
    for secret in re.findall(r"/run/secrets/([\w./-]+)", text):
        if secret.partition("/")[0] in has:
            file = folder / secret
            file.parent.mkdir(exist_ok=True)
            file.write_text(ADDRESSES.get(secret, new_key() if secret.startswith("keys/") else "x" * 40))
            file.chmod(0o440)
    config = folder / "onboarding.toml"
    config.write_text(text.replace("/run/secrets/", f"{folder}/"))
    return config


NEEDS: dict[str, Needs] = {"worker": EVERYTHING, "beat": BEATING, "web": SERVING}


@pytest.mark.parametrize("name", NEEDS)
def test_each_pod_has_the_secrets_that_its_command_needs(tmp_path: Path, name: str):
    assert load(given(tmp_path, pods()[name]), needs=NEEDS[name], environ={}).accounts.keys() == {"kyc"}


def test_a_pod_without_a_secret_of_its_command_does_not_start(tmp_path: Path):
    with pytest.raises(SettingsError, match="providers/idenfy_key"):
        load(given(tmp_path, pods()["web"]), needs=EVERYTHING, environ={})


def test_what_strangers_reach_has_no_credentials_of_providers_and_senders_and_others_only_what_they_reach():
    def secrets(name: str) -> set[str]:
        return {volume["name"] for volume in pods()[name]["volumes"] if "secret" in volume}

    assert secrets("web") == {"database", "broker", "keys", "receiving"}
    assert secrets("beat") == {"broker"}
    assert secrets("migrate") == {"database"}


def test_the_comment_that_lets_web_out_is_a_policy_once_it_is_none():
    head, _, rest = (FOLDER / "network.yaml").read_text("utf-8").partition("  # egress:")
    uncommented = head + "  egress:" + rest.replace("\n  # ", "\n  ")
    policies = {one["metadata"]["name"]: one["spec"] for one in yaml.safe_load_all(uncommented)}

    assert policies["web"] == of_kind("NetworkPolicy")["web"] | {
        "egress": [{"ports": [{"protocol": "TCP", "port": 443}]}]
    }


def test_a_worker_has_started_once_it_touches_the_file_that_its_probe_looks_for():
    (worker,) = pods()["worker"]["containers"]
    environment = {one["name"]: one["value"] for one in worker["env"]}

    assert worker["startupProbe"]["exec"]["command"] == ["test", "-e", environment["ONBOARDING_ALIVE_FILE"]]


def test_web_answers_requests_while_its_address_is_still_known_and_only_to_the_ingress_and_prometheus():
    (web,) = pods()["web"]["containers"]
    ((rule,),) = (one["ingress"] for one in of_kind("NetworkPolicy").values() if "ingress" in one)
    namespaces = {one["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] for one in rule["from"]}

    assert web["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "5"]
    assert namespaces == {"ingress-nginx", "monitoring"}


def test_the_outside_reaches_webhooks_callbacks_and_stable_links_by_tls_and_no_log_has_their_paths():
    (ingress,) = (one for one in manifests() if one["kind"] == "Ingress")
    (rule,), (tls,) = ingress["spec"]["rules"], ingress["spec"]["tls"]
    (service,) = (one for one in manifests() if one["kind"] == "Service")

    assert {path["path"] for path in rule["http"]["paths"]} == {"/webhooks/", "/callbacks/", "/s/"}
    for path in rule["http"]["paths"]:
        backend = path["backend"]["service"]
        assert (backend["name"], path["pathType"]) == (service["metadata"]["name"], "Prefix")
        assert backend["port"]["name"] in {port["name"] for port in service["spec"]["ports"]}
    assert tls["hosts"] == [rule["host"]]
    assert ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/enable-access-log"] == "false"


def test_web_is_asked_for_its_life_and_its_readiness_apart_and_beat_is_one():
    (web,) = pods()["web"]["containers"]
    beat = of_kind("Deployment")["beat"]

    assert web["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert web["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert (beat["replicas"], beat["strategy"]) == (1, {"type": "Recreate"})
    assert of_kind("ScaledObject")["worker"]["minReplicaCount"] == 1
    assert "replicas" not in of_kind("Deployment")["worker"]  # KEDA's, not ours
