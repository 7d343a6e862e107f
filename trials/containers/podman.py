"""podman: its containers, its images, and the settings of pip that a build needs."""

import json
import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

PROGRAMS = {"podman": "podman", "runc": "runc", "debootstrap": "debootstrap"}


class Failed(Exception):
    """A command of podman's did not succeed; the text is its last words."""


def missing() -> str:
    """Why no container can run on this machine; "" if one can."""
    if os.geteuid() != 0:
        return "it starts containers as root: run it as root, on a machine that may be lost"
    lacking = [package for package, program in PROGRAMS.items() if shutil.which(program) is None]
    return (
        f"these programs are missing: {', '.join(lacking)} (on Debian: apt install {' '.join(lacking)})"
        if lacking
        else ""
    )


def _limits() -> list[str]:
    """Without them podman asks for more than a machine may give."""
    found = []
    for name, limit, most in (("nofile", resource.RLIMIT_NOFILE, 65_536), ("nproc", resource.RLIMIT_NPROC, 16_384)):
        hard = resource.getrlimit(limit)[1]
        given = most if hard == resource.RLIM_INFINITY else min(hard, most)
        found += ["--ulimit", f"{name}={given}:{given}"]
    return found


def podman(
    *words: str, within: float = 120, check: bool = True, stdin: IO[bytes] | None = None
) -> subprocess.CompletedProcess[str]:
    """Raises Failed."""
    engine = ["podman", "--runtime", "runc", *words]
    given = subprocess.DEVNULL if stdin is None else stdin
    try:
        ended = subprocess.run(
            engine, stdin=given, capture_output=True, text=True, errors="replace", timeout=within, check=False
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"podman {words[0]}: still not done after {within:.0f} s") from None
    if check and ended.returncode:
        raise Failed(f"podman {' '.join(words[:2])} ended with {ended.returncode}: {ended.stderr.strip()[-2000:]}")
    return ended


def create(*words: str) -> str:
    """Make a container, which is not started."""
    return podman("create", *_limits(), *words).stdout.strip()


def looked_at(image: str, *command: str) -> str:
    """What a command says in a container of its own, which may do nothing."""
    closed = ("--rm", "--network", "none", "--read-only", "--cap-drop", "all", "--entrypoint", command[0])
    return podman("run", *closed, *_limits(), image, *command[1:]).stdout.strip()


def facts(kind: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(podman(kind, "inspect", name).stdout)[0]
    return found


def has(kind: str, name: str) -> bool:
    return podman(kind, "exists", name, check=False).returncode == 0


@dataclass(frozen=True)
class Build:
    """A build of an image. `mounts`: what of this machine its commands see, and no layer keeps."""

    name: str
    file: Path
    context: Path
    target: str = ""
    arguments: Mapping[str, str] | None = None
    mounts: Mapping[str, str] | None = None
    environ: Mapping[str, str] | None = None

    def run(self) -> None:
        words = ["--network", "host", "--layers", *_limits(), "--tag", self.name, "--file", str(self.file)]
        words += ["--target", self.target] if self.target else []
        for name, value in (self.arguments or {}).items():
            words += ["--build-arg", f"{name}={value}"]
        for inside, outside in (self.mounts or {}).items():
            words += ["--volume", f"{outside}:{inside}:ro"]
        podman("build", *words, str(self.context), within=900)


@contextmanager
def pip_settings() -> Iterator[dict[str, str]]:
    """This machine's own settings of pip, as files that a build may see: what each is inside, and where it is here.

    A build that needs none of them has none."""
    listed = said("python3", "-m", "pip", "config", "list").splitlines()
    settings = dict[str, str]()
    for line in listed:
        key, _, value = line.partition("=")
        settings[
            key.removeprefix(":env:.").partition(".")[2] if key.startswith("global.") else key.removeprefix(":env:.")
        ] = value.strip("'\"")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pip.conf"
        file.write_text("[global]\n" + "".join(f"{key} = {value}\n" for key, value in settings.items()))
        file.chmod(0o644)
        here = {place: place for value in settings.values() for word in value.split() if (place := _place_of(word))}
        yield {"/etc/pip.conf": str(file), **here} if settings else {}


def _place_of(word: str) -> str:
    """The folder or file of this machine that a setting of pip's names; "": none. An index in a folder has its files
    beside it."""
    path = Path(urlsplit(word).path)
    place = path.parent if word.startswith("file:") else path
    return str(place) if path.is_absolute() and path.exists() and len(place.parts) > 2 else ""


def said(*words: str, folder: Path | None = None) -> str:
    """What a command of this machine prints. Raises Failed."""
    ended = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise Failed(f"{words[0]} ended with {ended.returncode}: {(ended.stdout + ended.stderr).strip()[-2000:]}")
    return ended.stdout
