"""The image as deploy/kubernetes runs it: each pod's own security context, mounts and command, read from its file."""

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from trials.containers.podman import create, facts, podman
from trials.containers.stage import Stage, Step, must, until

Pod = Mapping[str, Any]
FOLDER = "deploy/kubernetes"
# The file of `make secrets` for each key of the secrets that the pods mount.
FILES = {
    "broker/url": "broker_url",
    "keys/onboarding.key": "onboarding.key",
    "keys/onboarding-digest.key": "onboarding-digest.key",
    "providers/idenfy_key": "idenfy_key",
    "providers/idenfy_secret": "idenfy_secret",
    "receiving/idenfy_webhook_key": "idenfy_webhook_key",
    "receiving/events_key": "events_key",
}
DATABASE = "pods"
UNITS = {"Mi": "m", "Gi": "g"}
# The servers of the trial have no certificates.
PLAIN = {"ONBOARDING__DATABASE__TLS": "off", "ONBOARDING__BROKER__TLS": "off"}


def pods(stage: Stage) -> Iterator[Step]:
    for name, says in (
        ("migrate", "ends with 0"),
        ("worker", "is started"),
        ("web", "is alive and ready"),
        ("beat", "goes on"),
    ):
        yield Step(f"the pod {name}, with its security context: {says}", partial(_pod, name=name))


def read(folder: Path, name: str) -> Pod:
    """The pod of a file."""
    for one in yaml.safe_load_all((folder / f"{name}.yaml").read_text("utf-8")):
        if one["kind"] in ("Deployment", "Job"):
            pod: Pod = one["spec"]["template"]["spec"]
            return pod
    raise ValueError(f"{name}.yaml has no pod")


def arguments(pod: Pod, sources: Mapping[str, str]) -> list[str]:
    """The options of `podman create` for the pod's one container. `sources`: a folder by the name of each volume that
    is no emptyDir. Raises KeyError for what a pod may not be without."""
    (container,), security = pod["containers"], pod["securityContext"]
    own = container["securityContext"]
    words = ["--user", f"{security['runAsUser']}:{security['runAsGroup']}", "--group-add", str(security["fsGroup"])]
    words += [f"--read-only={json.dumps(own['readOnlyRootFilesystem'])}", "--read-only-tmpfs=false"]
    words += [word for one in own["capabilities"]["drop"] for word in ("--cap-drop", one)]
    words += [] if own["allowPrivilegeEscalation"] else ["--security-opt", "no-new-privileges:true"]
    # RuntimeDefault is podman's own profile, which it takes by itself.
    words += ["--memory", _size(container["resources"]["limits"]["memory"])]
    words += ["--stop-timeout", str(pod["terminationGracePeriodSeconds"])]
    words += [word for one in container["env"] for word in ("--env", f"{one['name']}={one['value']}")]
    empty = {one["name"]: one["emptyDir"]["sizeLimit"] for one in pod["volumes"] if "emptyDir" in one}
    for mount in container["volumeMounts"]:
        name, path = mount["name"], mount["mountPath"]
        if name in empty:
            words += ["--tmpfs", f"{path}:mode=0777,size={_size(empty[name])}"]
        else:
            words += ["--volume", f"{sources[name]}:{path}:{'ro' if mount['readOnly'] else 'rw'}"]
    return words


def _size(text: str) -> str:
    return text[:-2] + UNITS[text[-2:]]


def _pod(stage: Stage, *, name: str) -> None:
    pod = read(stage.checkout / FOLDER, name)
    (container,) = pod["containers"]
    if name == "migrate":
        stage.project.exec(
            "postgres",
            "psql",
            "--username",
            "postgres",
            "--command",
            f"CREATE DATABASE {DATABASE} OWNER onboarding_migrate",
        )
    sources = _sources(stage, pod, name)
    called = f"{stage.project.name}-pod-{name}"
    plain = [word for variable, value in PLAIN.items() for word in ("--env", f"{variable}={value}")]
    create(
        *arguments(pod, sources), *plain, "--network", stage.project.name, "--name", called,
        stage.project.image("worker"), *container["command"],
    )  # fmt: skip
    podman("start", called)
    try:
        if name == "migrate":
            podman("wait", called, within=300)
            _must_end(called, 0)
            return
        _becomes_ready(called, container)
        status = podman("exec", called, "cat", "/proc/1/status").stdout
        found = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        must(found["CapEff"].strip("0\t ") == "" and found["CapBnd"].strip("0\t ") == "", "it has capabilities")
        must((found["NoNewPrivs"], found["Seccomp"]) == ("1", "2"), "it may gain rights")
        stage.note(f"uid {found['Uid'].split()[0]}, capabilities {found['CapBnd']}, seccomp {found['Seccomp']}")
        podman("stop", called, within=120)
        _must_end(called, 0)
    finally:
        stage.project.remove(called)


def _becomes_ready(called: str, container: Mapping[str, Any]) -> None:
    """As the pod's probes ask; without one, it goes on for a while."""
    asked = [container[probe] for probe in ("startupProbe", "livenessProbe", "readinessProbe") if probe in container]
    ports = {one["name"]: one["containerPort"] for one in container.get("ports", [])}
    for probe in asked:
        if "exec" in probe:
            words = probe["exec"]["command"]
        else:
            at = f"http://127.0.0.1:{ports[probe['httpGet']['port']]}{probe['httpGet']['path']}"
            words = ["python", "-c", f"import urllib.request; urllib.request.urlopen('{at}', timeout=3)"]
        until(partial(_answers, called, words), f"{called} answers {probe}")
    if not asked:
        time.sleep(10)
        must(facts("container", called)["State"]["Running"], f"it has ended: {podman('logs', called).stderr[-500:]}")


def _answers(called: str, words: list[str]) -> bool:
    return podman("exec", called, *words, check=False).returncode == 0


def _must_end(called: str, code: int) -> None:
    ended = facts("container", called)["State"]["ExitCode"]
    logs = podman("logs", called)
    must(ended == code, f"it ended with {ended}: {(logs.stdout + logs.stderr)[-800:]}")


def _sources(stage: Stage, pod: Pod, name: str) -> dict[str, str]:
    """A folder for each ConfigMap and Secret, with the modes that Kubernetes gives: root's, readable by the group."""
    root = stage.folder / "pods" / name
    shutil.rmtree(root, ignore_errors=True)
    found, secrets = dict[str, str](), stage.folder / "secrets"
    role = "migrate" if name == "migrate" else "run"
    database = (secrets / f"database_url_{role}").read_text().replace("/onboarding\n", f"/{DATABASE}\n")
    (group,) = {pod["securityContext"]["fsGroup"]}
    for volume in pod["volumes"]:
        folder = root / volume["name"]
        folder.mkdir(parents=True)
        folder.parent.chmod(0o755)
        texts = dict[str, str]()
        if "configMap" in volume:
            texts["onboarding.toml"] = (stage.checkout / FOLDER / "onboarding.toml").read_text("utf-8")
        elif "secret" in volume:
            texts = {
                key.partition("/")[2]: (secrets / _file(stage, file)).read_text()
                for key, file in FILES.items()
                if key.startswith(f"{volume['name']}/")
            }
            texts |= {
                "database": {"url": database},
                "sending": {"smtp_url": "smtp+starttls://user:x@smtp.example.com:587\n"},
            }.get(volume["name"], {})
        for file, text in texts.items():
            (folder / file).write_text(text)
            (folder / file).chmod(volume["secret"]["defaultMode"] if "secret" in volume else 0o644)
            shutil.chown(folder / file, group=group)
        folder.chmod(0o755)
        found[volume["name"]] = str(folder)
    return found


def _file(stage: Stage, name: str) -> str:
    return f"{stage.project.environ['BROKER']}_url" if name == "broker_url" else name
