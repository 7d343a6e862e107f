"""The built wheel, installed outside the checkout: it has everything that a command needs."""

import email
import email.message
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.add_bundled import BUNDLED
from deploy.docs_hooks import COMMON
from tests.suite.packages import FOLDERS, PACKAGES, ROOT
from tests.suite.waiting import ENDS_WITHIN

# The host project's files with our names fail if they are read.
HOSTS_OWN = 'raise SystemExit("the host\'s own file was read")\n'


def pip(*arguments: str | Path) -> None:
    quiet = ("--quiet", "--disable-pip-version-check", "--no-input", "--no-cache-dir")
    subprocess.run([sys.executable, "-m", "pip", *map(str, arguments), *quiet], check=True, timeout=ENDS_WITHIN)


@dataclass(frozen=True)
class Installed:
    """A virtual environment with the wheel, and with the dependencies of the tests' own environment."""

    wheel: Path
    folder: Path

    def run(self, cwd: Path, program: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(program, *arguments),
            cwd=cwd,
            env=clean(**environ),
            capture_output=True,
            text=True,
            timeout=ENDS_WITHIN,
            check=False,
        )

    def metadata(self) -> email.message.Message:
        with zipfile.ZipFile(self.wheel) as archive:
            (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
            return email.message_from_bytes(archive.read(name))

    def command(self, program: str, *arguments: str) -> list[str]:
        return [str(self.folder / "bin" / program), *arguments]


def clean(**environ: str) -> dict[str, str]:
    """An environment without the checkout and without a configuration."""
    ours = {name for name in os.environ if name.startswith(("PYTHON", "ONBOARDING", "CELERY"))}
    return {name: value for name, value in os.environ.items() if name not in ours} | environ


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The installed wheel. One of pytest's processes makes all tests that need it (`suite.order`)."""
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    (wheel,) = folder.glob("*.whl")
    pip("--python", folder / "venv/bin/python", "install", "--no-deps", "--no-index", "--no-compile", wheel)
    # After ours, so that pip does not see a checkout that is installed there. A path in a .pth file brings
    # the packages of that directory, and not what its own .pth files name: not the checkout.
    (purelib,) = (folder / "venv").glob("lib/python*/site-packages")
    paths = [path for path in sys.path if Path(path).name == "site-packages"]
    (purelib / "dependencies.pth").write_text("\n".join(paths))
    return Installed(wheel, folder / "venv")


@pytest.fixture
def sandbox(installed: Installed, tmp_path: Path) -> Iterator[tuple[str, ...]]:
    """A sandbox of the installed wheel; gives the options of `init` that name its ports."""
    command = installed.command("onboard", "sandbox", "--port", "0", "--smtp-port", "0")
    with subprocess.Popen(command, cwd=tmp_path, env=clean(), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://\S+:(\d+).*smtp://\S+:(\d+)", process.stdout.readline())
            assert found
            yield ("--port", found[1], "--smtp-port", found[2])
        finally:
            process.send_signal(signal.SIGTERM)


@pytest.fixture(scope="module")
def configured(installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with what `init` writes."""
    folder = tmp_path_factory.mktemp("configured")
    assert installed.run(folder, "onboard", "init", "--sandbox").returncode == 0
    return folder


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A project with its own packages and files under the names that we use."""
    folder = tmp_path / "host"
    for name in ("worker", "migrations", "templates"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(HOSTS_OWN)
    (folder / "celeryconfig.py").write_text(HOSTS_OWN)
    (folder / "alembic.ini").write_text("[alembic]\nscript_location = migrations\n")
    (folder / "pyproject.toml").write_text('[project]\nname = "host"\n')
    return folder


def test_the_wheel_has_the_package_and_nothing_else(installed: Installed):
    with zipfile.ZipFile(installed.wheel) as archive:
        names = set(archive.namelist())
    assert {name.partition("/")[0].partition("-")[0] for name in names} == set(PACKAGES)
    expected = {
        f"{name}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, name in zip(FOLDERS, PACKAGES, strict=True)
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
    }
    ours = "onboarding_worker"
    expected |= {f"{ours}/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "migrations").rglob("*.*")}
    expected.add(f"{ours}/celeryconfig.py")
    inside = {name for name in names if ".dist-info/" not in name}
    assert {name for name in expected if "__pycache__" not in name} == inside
    assert {f"{name}/py.typed" for name in PACKAGES} <= inside
    assert {f"{ours}/reporting/pages/report.html", "onboarding_sandbox/demo/customers.csv"} <= inside
    assert f"{ours}/migrations/env.py" in inside
    assert any(re.match(rf"{ours}/migrations/versions/0001_\w+\.py", name) for name in inside)
    assert any(re.match(rf"{ours}/templates/shipped/default/\w+/sms\.txt", name) for name in inside)


def test_a_source_distribution_makes_the_same_wheel(installed: Installed, tmp_path: Path):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (source,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, source)

    (made,) = tmp_path.glob("*.whl")
    assert made.read_bytes() == installed.wheel.read_bytes()
    assert {"PACKAGE.md", "docs/README.md"} <= names


def test_its_metadata_has_its_name_and_its_dependencies(installed: Installed):
    metadata = installed.metadata()
    assert metadata["Name"] == "onboarding-worker"
    assert metadata["Requires-Python"] == ">=3.11"
    assert any(one.startswith("celery") for one in metadata.get_all("Requires-Dist", []))
    assert all(metadata[one] for one in ("Author", "Keywords", "Project-URL", "Classifier"))
    assert {"build", "dev"}.isdisjoint(metadata.get_all("Provides-Extra", []))
    assert str(ROOT) not in str(metadata)


def test_its_licence_is_that_of_all_that_lies_in_it(installed: Installed):
    metadata = installed.metadata()
    bundled = json.loads(BUNDLED.read_text(encoding="utf-8"))
    theirs = {found["license"]["id"] for one in bundled for found in one["licenses"]}
    with zipfile.ZipFile(installed.wheel) as archive:
        texts = {archive.read(name) for name in archive.namelist() if ".dist-info/licenses/" in name}

    assert {*metadata["License-Expression"].split(" AND ")} == {"Apache-2.0", *theirs}
    assert texts == {(ROOT / name).read_bytes() for name in metadata.get_all("License-File", [])}
    assert {(ROOT / name).read_bytes() for name in ("LICENSE", "LICENSE.unicode")} <= texts
    # Without the dashboard there is no htmx.
    assert {one.read_bytes() for one in (ROOT / "worker").rglob("*.LICENSE")} <= texts


def test_what_an_index_shows_of_it_leads_nowhere_that_the_index_does_not_have(installed: Installed):
    shown = COMMON.render(installed.metadata().get_payload())

    assert "<h1>Onboarding worker</h1>" in shown
    links = re.findall(r'(?:href|src)="([^"]*)"', shown)
    assert [link for link in links if not link.startswith(("https://", "#"))] == []


def test_what_runs_is_the_wheel_and_neither_the_checkout_nor_a_folder_of_the_host_with_the_name_worker(
    installed: Installed, host: Path
):
    (host / "worker/__init__.py").write_text("theirs = True\n")
    asked = (
        "import worker, onboarding_worker as o, onboarding_worker.core.database.schema as schema;"
        "import onboarding_worker.runtime.celery_settings as celery;"
        "print(worker.theirs, o.request_onboarding.__module__);"
        "print(o.__file__); print(schema.MIGRATIONS); print(celery.CELERYCONFIG)"
    )

    ended = installed.run(host, "python", "-c", asked)

    assert ended.returncode == 0, ended.stderr
    loaded, *files = ended.stdout.splitlines()
    assert loaded == "True onboarding_worker.runtime.python_api"
    package, migrations, celeryconfig = map(Path, files)
    assert package.is_relative_to(installed.folder)
    assert migrations == package.parent / "migrations"
    assert celeryconfig == package.parent / "celeryconfig.py"
    assert migrations.is_dir()


def test_the_folder_of_a_checkout_is_not_a_second_package():
    ended = subprocess.run(
        [sys.executable, "-c", "import worker.core.database.facts"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "celery -A onboarding_worker" in ended.stderr


def test_the_command_prints_its_help(installed: Installed, tmp_path: Path):
    ended = installed.run(tmp_path, "onboard", "--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "onboard init --sandbox" in ended.stdout
    assert installed.run(tmp_path, "onboard", "--version").returncode == 0


def test_a_list_is_checked_run_and_reported_next_to_a_host_projects_own_files(
    installed: Installed, sandbox: tuple[str, ...], host: Path
):
    ended = installed.run(host, "onboard", "init", "--sandbox", *sandbox)
    assert ended.returncode == 0, ended.stderr
    (package,) = installed.folder.glob("lib/python*/site-packages/onboarding_sandbox")
    checked = installed.run(host, "onboard", "check", str(package / "demo/customers.csv"), "--json")
    assert checked.returncode == 1, checked.stderr  # three rows are bad, on purpose
    rows = json.loads(checked.stdout)["rows"]
    assert (rows["total"], rows["rejected"], rows["duplicate"]) == (1000, 3, 1)
    (host / "list.csv").write_text("customer_id,email,country\nA-1,one@example.com,LT\nA-2,two@example.com,DE\n")
    ran = installed.run(host, "onboard", "run", "list.csv", "--json")
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["rows"]["invited"] == 2
    assert installed.run(host, "onboard", "report", "latest", "--out", "report.html").returncode == 0
    assert "A-2" in (host / "report.html").read_text(encoding="utf-8")


def test_celery_reads_our_settings_and_not_the_host_projects(installed: Installed, host: Path, configured: Path):
    shutil.copytree(configured, host, dirs_exist_ok=True)
    command = ("-m", "celery", "-A", "onboarding_worker", "report")
    ended = installed.run(host, "python", *command, ONBOARDING_CONFIG="onboarding.toml")
    assert ended.returncode == 0, ended.stderr
    assert "host's own" not in ended.stdout + ended.stderr
    assert "task_default_queue: 'onboarding.sweep'" in ended.stdout


def test_our_workers_start_where_a_host_project_has_a_worker_of_its_own(
    installed: Installed, host: Path, configured: Path
):
    shutil.copytree(configured, host, dirs_exist_ok=True)
    nobody = {
        "ONBOARDING__DATABASE__URL": "postgresql+psycopg://nobody@127.0.0.1:1/none",
        "ONBOARDING__BROKER__URL": "redis://127.0.0.1:1/0",  # given up sooner than one of amqp
    }
    command = installed.command("onboard", "beat")
    with subprocess.Popen(command, cwd=host, env=clean(**nobody), stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert "onboarding_worker.runtime.celery_beat" in process.stderr.readline()  # it looks for its broker
        finally:
            process.send_signal(signal.SIGTERM)


@pytest.mark.long
def test_the_demo_runs_in_an_empty_directory(installed: Installed, tmp_path: Path):
    ended = installed.run(tmp_path, "onboard", "demo")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]
    assert (tmp_path / "demo/report.html").is_file()
