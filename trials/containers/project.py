"""A project of Compose, played by podman: `up`, `exec`, `run`, `restart` and `down` as `docker compose` does them."""

import contextlib
import json
import shlex
import socket
import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path

from trials.containers import compose_file
from trials.containers.arguments import Place, arguments
from trials.containers.compose_file import Service, seconds
from trials.containers.podman import Build, Failed, create, facts, has, podman

RECIPE = "onboarding-trial.recipe"


class Project:
    """The services of a folder's docker-compose.yml. All that it makes has `name` at its head, and `close` removes it.

    `mounts`: what builds see of this machine."""

    def __init__(self, name: str, folder: Path, environ: Mapping[str, str], mounts: Mapping[str, str]) -> None:
        self.name, self.folder, self.mounts = name, folder, mounts
        self.old_logs = list[tuple[str, str]]()  # of containers that are gone
        self.between: Callable[[str], None] | None = None  # called by `up`, with each service before its turn
        self.kept = set[str]()  # the services whose images are not built again
        self.environ = compose_file.environ_of((folder / ".env").read_text("utf-8"), environ)
        self.everything = compose_file.read(folder / "docker-compose.yml", self.environ)
        self.services: Mapping[str, Service] = self.everything["services"]
        published = [port.split(":")[1] for one in self.services.values() for port in one.get("ports", [])]
        self.place = Place(
            name=name,
            folder=folder,
            ports=dict(zip(published, _free_ports(len(published)), strict=True)),
            secrets={secret: one["file"] for secret, one in self.everything["secrets"].items()},
            volumes=frozenset(self.everything["volumes"]),
        )
        self._scale = dict[str, int]()
        self._replaced = list[str]()  # the ids of images whose names later ones have

    def open(self) -> None:
        podman("network", "create", self.name)

    # -- what `docker compose` is told

    def compose(self, line: str) -> str:
        """Play a line such as `docker compose up --build --detach`, and return what it printed. Raises Failed."""
        _docker, _compose, command, *words = shlex.split(line)
        match command, words:
            case "up", [*options] if {*options} <= {"--build", "--detach"}:
                return self.up(build="--build" in options)
            case "up", ["--build", "--detach", "--scale", scale]:
                service, _, number = scale.partition("=")
                self._scale[service] = int(number)
                return self.up(build=True)
            case "exec", [service, *typed]:
                return self.exec(service, *typed)
            case "run", ["--rm", service, *typed]:
                return self.once(service, *typed)
            case "restart", [service]:
                self.restart(service)
                return ""
            case "down", []:
                self.down()
                return ""
        raise Failed(f"the trial cannot play: {line}")

    def up(self, *, build: bool = False) -> str:
        """Start each service after those that it waits for. A container whose service or image has changed is replaced
        in its turn: those after it go on until then."""
        names = compose_file.chosen(self.services, self.environ.get("COMPOSE_PROFILES", "").split(","))
        if build:
            self.build()
        for name in names:
            for needed, condition in compose_file.waits_for(self.services[name]).items():
                if needed in names:
                    self.wait_for(needed, condition)
            if self.between is not None:
                self.between(name)
            for number in range(1, self._scale.get(name, 1) + 1):
                self._start(name, number)
        for name in names:
            if "healthcheck" in self.services[name]:
                self.wait_for(name, "service_healthy")
        return ""

    def exec(self, service: str, *command: str, within: float = 300, check: bool = True) -> str:
        return podman("exec", self.place.container(service), *command, within=within, check=check).stdout

    def once(self, service: str, *command: str, within: float = 300) -> str:
        """As `run --rm`: a container of its own, with another command."""
        words = arguments(service, self.services[service], self.place, once=True)
        name = f"{self.place.container(service)}-once"
        try:
            create(*words, self.image(service), *command)
            return podman("start", "--attach", name, within=within).stdout
        finally:
            podman("rm", "--force", "--ignore", "--time", "0", name)

    def restart(self, service: str) -> None:
        podman("restart", self.place.container(service))
        self.wait_for(service, "service_healthy")

    def down(self) -> None:
        """Stop and remove the containers, the last started first. Volumes stay."""
        for name in reversed(self.containers()):
            if has("container", name):
                self.remove(name)

    # -- how it is done

    def build(self) -> None:
        """Build each image once. Each stage of the Dockerfile has a name, so that it can be removed."""
        done = set[str]()
        for name, service in self.services.items():
            if "build" in service and service["image"] not in done and name not in self.kept:
                done.add(service["image"])
                given = service["build"]
                context = self.folder / given["context"]
                file = context / "Dockerfile"
                for stage in [*_stages_before(file, given["target"]), given["target"]]:
                    made = f"localhost/{self.name}/stage-{stage}"
                    self._replaced += [facts("image", made)["Id"]] if has("image", made) else []
                    Build(made, file, context, stage, given["args"], self.mounts).run()
                podman("tag", f"localhost/{self.name}/stage-{given['target']}", self._own(service["image"]))

    def image(self, service: str) -> str:
        one = self.services[service]
        return self._own(one["image"]) if "build" in one else str(one["image"])

    def _own(self, image: str) -> str:
        return f"localhost/{self.name}/{image}"

    def containers(self, service: str = "") -> list[str]:
        """The containers that there are, running or not, in the order in which they were made."""
        head = f"^{self.name}-{service}"
        listed = podman("ps", "--all", "--sort", "created", "--filter", f"name={head}", "--format", "{{.Names}}")
        return listed.stdout.split()

    def _start(self, name: str, number: int) -> None:
        service, container = self.services[name], self.place.container(name, number)
        command = service.get("command", [])
        words = [*arguments(name, service, self.place, number=number), self.image(name)]
        recipe = sha256(json.dumps([words, command, facts("image", self.image(name))["Id"]]).encode()).hexdigest()
        if has("container", container):
            found = facts("container", container)
            shared = service.get("network_mode", "").removeprefix("service:")
            moved = shared and facts("container", self.place.container(shared))["Id"] not in str(
                found["HostConfig"]["NetworkMode"]
            )
            if found["Config"]["Labels"].get(RECIPE) == recipe and not moved:
                if not found["State"]["Running"]:
                    podman("start", container)
                return
            self.remove(container)
        create("--label", f"{RECIPE}={recipe}", *words, *command)
        podman("start", container)

    def remove(self, container: str) -> None:
        """Stop and remove a container, after those that share its network. Its log is kept."""
        for name, service in self.services.items():
            shared = service.get("network_mode", "").removeprefix("service:")
            if shared and self.place.container(shared) == container:
                for dependent in self.containers(f"{name}-"):
                    self.remove(dependent)
        podman("stop", container, within=300)
        ended = podman("logs", container)
        self.old_logs.append((container, ended.stdout + ended.stderr))
        podman("rm", "--force", container)

    def wait_for(self, name: str, condition: str) -> None:
        """Raises Failed where Compose would give up."""
        container, check = self.place.container(name), self.services[name].get("healthcheck", {})
        if condition == "service_completed_successfully":
            podman("wait", container, within=600)
            if code := facts("container", container)["State"]["ExitCode"]:
                raise Failed(f"{name} ended with {code}: {self.logs(name)[-2000:]}")
        elif condition == "service_healthy":
            patience = seconds(check.get("start_period", "0s")) + check["retries"] * (
                seconds(check["interval"]) + seconds(check["timeout"])
            )
            ends = time.monotonic() + patience
            while not self.is_healthy(name):
                if time.monotonic() > ends:
                    raise Failed(f"{name} is not healthy after {patience:.0f} s: {self.logs(name)[-2000:]}")
                time.sleep(0.5)

    def is_healthy(self, name: str) -> bool:
        """Whether the service's own check passes now. podman's own way needs systemd, and knows no list of words."""
        check = self.services[name]["healthcheck"]
        try:
            asked = podman(
                "exec",
                self.place.container(name),
                *compose_file.words_of(check["test"]),
                within=seconds(check["timeout"]),
                check=False,
            )
        except Failed:  # no answer in time
            return False
        return asked.returncode == 0

    def logs(self, service: str) -> str:
        ended = podman("logs", self.place.container(service), check=False)
        return ended.stdout + ended.stderr

    def process(self, service: str) -> int:
        """The id, on this machine, of the container's first process; 0: it does not run."""
        return int(facts("container", self.place.container(service))["State"]["Pid"])

    def address(self, port: str) -> str:
        return f"http://127.0.0.1:{self.place.ports[port]}"

    def close(self) -> None:
        """Remove everything with the project's name. Goes on where something cannot be removed."""
        for kind, remove in (
            ("container", ("rm", "--force", "--time", "0", "--volumes")),
            ("volume", ("volume", "rm", "--force")),
            ("network", ("network", "rm", "--force")),
        ):
            for name in self._made(kind):
                with contextlib.suppress(Failed):
                    podman(*remove, name)
        for name in [*self._made("image"), *self._replaced]:
            with contextlib.suppress(Failed):
                podman("rmi", "--force", name)

    def _made(self, kind: str) -> list[str]:
        listing = {
            "container": ("ps", "--all", "--format", "{{.Names}}"),
            "volume": ("volume", "ls", "--format", "{{.Name}}"),
            "network": ("network", "ls", "--format", "{{.Name}}"),
            "image": ("images", "--format", "{{.Repository}}:{{.Tag}}"),
        }[kind]
        heads = (f"localhost/{self.name}/", f"{self.name}-")
        return [name for name in podman(*listing, check=False).stdout.split() if f"{name}-".startswith(heads)]

    def left_behind(self) -> list[str]:
        """What `close` did not remove."""
        named = [f"{kind} {name}" for kind in ("container", "volume", "network", "image") for name in self._made(kind)]
        return named + [f"image {one}" for one in self._replaced if has("image", one)]


def _stages_before(file: Path, target: str) -> list[str]:
    """The stages of a Dockerfile that are before its target, in their order."""
    stages = [line.split()[-1] for line in file.read_text("utf-8").splitlines() if line.startswith("FROM ")]
    return stages[: stages.index(target)]


def _free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(number)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
