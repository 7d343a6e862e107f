"""Whether a secret's value can be seen: in what podman tells of containers and images, in layers, in logs, in lists of
processes."""

import mmap
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from trials.containers.podman import podman
from trials.containers.stage import Stage, Step, must


def searched(stage: Stage) -> Iterator[Step]:
    yield Step("no secret is in `inspect`, `history`, a log or a list of processes", _told)
    yield Step("no secret is in a layer of an image", _layers)


def _told(stage: Stage) -> None:
    values = stage.secrets()
    must(len(values) >= 8, f"only {len(values)} secrets are known: {', '.join(values)}")
    texts = dict[str, str]()
    for container in stage.project.containers():
        texts[f"inspect of {container}"] = podman("inspect", container).stdout
        ended = podman("logs", container)
        texts[f"log of {container}"] = ended.stdout + ended.stderr
        texts[f"processes of {container}"] = podman("top", container, "args", check=False).stdout
    for name, log in stage.project.old_logs:
        texts[f"an earlier log of {name}"] = texts.get(f"an earlier log of {name}", "") + log
    for service in ("worker", "sandbox"):
        image = stage.project.image(service)
        texts[f"inspect of the image of {service}"] = podman("image", "inspect", image).stdout
        texts[f"history of the image of {service}"] = podman("history", "--no-trunc", image).stdout
    for kind in ("volume", "network"):
        texts[kind] = podman(kind, "inspect", "--all" if kind == "volume" else stage.project.name).stdout
    must(not (wrong := seen(values, texts)), "; ".join(wrong))
    size = sum(map(len, texts.values()))
    stage.note(f"{len(values)} values in {len(texts)} texts of {size / 1e6:.1f} MB")


def seen(values: Mapping[str, str], texts: Mapping[str, str]) -> list[str]:
    """Which secret can be read in which text."""
    return [
        f"{secret} in {where}" for where, text in texts.items() for secret, value in values.items() if value in text
    ]


def _layers(stage: Stage) -> None:
    values, size = stage.secrets(), 0
    for service in ("worker", "sandbox"):
        with tempfile.TemporaryDirectory() as folder:
            saved = Path(folder) / "image.tar"
            # Its layers are tar files, not compressed.
            podman(
                "save", "--format", "docker-archive", "--output", str(saved), stage.project.image(service), within=300
            )
            size += saved.stat().st_size
            with saved.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                wrong = [secret for secret, value in values.items() if content.find(value.encode()) >= 0]
        must(not wrong, f"the image of {service} has {', '.join(wrong)}")
    stage.note(f"{size / 1e6:.0f} MB searched")
