"""An installation for production has neither the sandbox nor its mail server, and every other command works."""

import subprocess
import sys

import pytest

from onboarding_worker.cli.exits import CannotStart, check_sandbox_is_installed
from onboarding_worker.cli.registry import COMMANDS

ALL = ("onboarding_sandbox", "aiosmtpd")
OF_SANDBOX = [name for name, command in COMMANDS.items() if command.extra == "sandbox"]


def onboard(*words: str, without: tuple[str, ...] = ALL, cwd=None) -> subprocess.CompletedProcess[str]:
    """A command in a process in which these packages cannot be found."""
    call = "import sys\n" + "".join(f"sys.modules[{name!r}] = None\n" for name in without)
    call += f"sys.argv[1:] = {list(words)}\nfrom onboarding_worker.cli import main\nmain()\n"
    return subprocess.run([sys.executable, "-c", call], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("missing", ALL)
def test_what_needs_the_sandbox_says_what_to_install(missing: str, tmp_path):
    typed = [*((name, "x") for name in OF_SANDBOX), ("sandbox", "--help"), ("init", "--sandbox")]
    call = (
        f"import sys\nsys.modules[{missing!r}] = None\nfrom onboarding_worker.cli import main\n"  # one process for all
    )
    call += f"for words in {typed}:\n  sys.argv[1:] = words\n  try:\n    main()\n"
    call += "  except SystemExit as end:\n    print(end.code)\n"
    ended = subprocess.run([sys.executable, "-c", call], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert ended.stdout == "2\n" * len(typed)
    lines = ended.stderr.splitlines()
    assert len(lines) == len(typed)
    assert all(f"{missing} is missing" in line for line in lines)
    assert all("install onboarding-worker[sandbox]" in line for line in lines)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_which_only_compiled_files_were_left_is_not_the_sandbox(tmp_path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "onboarding_sandbox/__pycache__").mkdir(parents=True)
    monkeypatch.delitem(sys.modules, "onboarding_sandbox", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])

    with pytest.raises(CannotStart, match="onboarding_sandbox is missing"):
        check_sandbox_is_installed()


def test_every_other_command_works_without_it():
    others = [name for name in COMMANDS if name not in OF_SANDBOX]
    call = "import sys\n" + "".join(f"sys.modules[{name!r}] = None\n" for name in ALL)
    call += "from onboarding_worker.cli.registry import COMMANDS\n"
    call += "from onboarding_worker.core.foundation.features import loaded\n"
    call += f"for name in {others}:\n  loaded(COMMANDS[name].place)\n"
    call += "import onboarding_worker, onboarding_worker.cli.opening, onboarding_worker.runtime.web_application\n"
    ended = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_first_configuration_for_production_is_written_without_it(tmp_path):
    ended = onboard("init", cwd=tmp_path)

    assert (ended.returncode, ended.stderr) == (0, "")
    assert (tmp_path / "onboarding.toml").exists()
