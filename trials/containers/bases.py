"""The base images: a Debian with Python, and servers of its packages that stand in for the official images. They are
made once, and kept for the next run."""

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

from trials.containers.podman import Build, has, looked_at, podman, said

IMAGES = Path(__file__).parent / "images"
KEPT = "localhost/onboarding-trial-base"
PACKAGES = "python3,python3-venv,ca-certificates"
# What an image of everybody's has no use for; and where the packages came from.
LEFT_OUT = (
    "etc/apt/sources.list",
    "etc/hostname",
    "etc/resolv.conf",
    "proc/*",
    "sys/*",
    "var/cache/apt/*",
    "var/lib/apt/lists/*",
    "var/log/*",
)


def python_image(suite: str) -> str:
    """The image that takes the place of PYTHON_IMAGE."""
    name = f"{KEPT}-python-{suite}:{_digest(PACKAGES, *LEFT_OUT)}"
    if not has("image", name):
        forget(name)
        with tempfile.TemporaryDirectory() as folder:
            root, packed = Path(folder) / "root", Path(folder) / "root.tar"
            said("debootstrap", "--variant=minbase", f"--include={PACKAGES}", suite, str(root), mirror())
            (root / "usr/bin/python").symlink_to("python3")
            without = [f"--exclude=./{one}" for one in LEFT_OUT]
            said("tar", "--directory", str(root), *without, "--create", "--file", str(packed), ".")
            podman("import", str(packed), name, within=300)
    return name


@dataclass(frozen=True)
class Server:
    """A server of the Compose file, with the user, folders and command that its official image has."""

    name: str
    package: str
    home: str
    folders: str
    entry: str
    command: str

    def image(self, suite: str) -> str:
        base = python_image(suite)
        files = [(IMAGES / one).read_text("utf-8") for one in (self.entry, "server.Dockerfile")]
        name = f"{KEPT}-{self.name}-{suite}:{_digest(base, *files, repr(self))}"
        if not has("image", name):
            forget(name)
            given = {"BASE": base, "USER": self.name, "HOME_FOLDER": self.home, "PACKAGE": self.package}
            given |= {"FOLDERS": self.folders, "ENTRY": self.entry, "COMMAND": self.command}
            with tempfile.NamedTemporaryFile("w") as sources:
                sources.write(f"deb {mirror()} {suite} main\n")
                sources.flush()
                mounts = {"/etc/apt/sources.list": sources.name}
                Build(name, IMAGES / "server.Dockerfile", IMAGES, arguments=given, mounts=mounts).run()
        return name

    def version(self, image: str) -> str:
        return looked_at(image, "dpkg-query", "--show", self.package).replace("\t", " ")


SERVERS = {
    "POSTGRES_IMAGE": Server(
        "postgres", "postgresql", "/var/lib/postgresql", "/var/lib/postgresql/data", "postgres.sh", "postgres"
    ),
    "RABBITMQ_IMAGE": Server(
        "rabbitmq",
        "rabbitmq-server",
        "/var/lib/rabbitmq",
        "/var/lib/rabbitmq /etc/rabbitmq/conf.d",
        "plain.sh",
        "rabbitmq-server",
    ),
    "REDIS_IMAGE": Server("redis", "redis-server", "/data", "/data", "plain.sh", "redis-server"),
}


def mirror() -> str:
    """The mirror of Debian's packages that this machine uses."""
    asked = ("apt-get", "indextargets", "--format", "$(REPO_URI) $(ORIGIN)", "Created-By: Packages")
    known = [line.split() for line in said(*asked).splitlines()]
    ours = (uri for uri, *origin in known if origin == ["Debian"] and "security" not in uri)
    return next(ours, "http://deb.debian.org/debian")


def forget(name: str = KEPT) -> None:
    """Remove the base images; or those that were made from another recipe for the one of this name."""
    head = name.partition(":")[0]
    listed = podman("images", "--format", "{{.Repository}}:{{.Tag}}").stdout.split()
    for one in [one for one in listed if one.startswith(head)]:
        podman("rmi", one, check=False)  # one that another run uses stays


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
