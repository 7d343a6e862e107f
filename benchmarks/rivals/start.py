"""How each rival is started: with two worker processes, as many calls in flight together as the other sides have."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
PROCESSES = 2


@dataclass(frozen=True)
class Rival:
    """`workers`: the commands that start them, each with `{places}` for the calls in flight of one process.

    `environment`: where it is installed. arq needs an older Redis client than the others.
    """

    title: str
    module: str
    workers: Sequence[Sequence[str]]
    environment: str = ".venv-most"

    def enqueue(self, rows: int) -> list[str]:
        return [self._program("python"), "-m", f"benchmarks.rivals.{self.module}", str(rows)]

    def commands(self, places: int) -> list[list[str]]:
        each = str(max(places // PROCESSES, 1))
        return [
            [self._program(program), *(word.format(places=each) for word in words)] for program, *words in self.workers
        ]

    @property
    def is_installed(self) -> bool:
        return Path(self._program("python")).exists()

    def _program(self, name: str) -> str:
        return str(FOLDER / self.environment / "bin" / name)


RIVALS = (
    Rival(
        "taskiq",
        "with_taskiq",
        [
            (
                "taskiq",
                "worker",
                "benchmarks.rivals.with_taskiq:broker",
                "--workers=2",
                "--max-async-tasks={places}",
                "--log-level=WARNING",
            )
        ],
    ),
    Rival("arq", "with_arq", [("arq", "benchmarks.rivals.with_arq.WorkerSettings")] * PROCESSES, ".venv-arq"),
    Rival(
        "dramatiq",
        "with_dramatiq",
        [("dramatiq", "benchmarks.rivals.with_dramatiq", "--processes=2", "--threads={places}")],
    ),
    Rival(
        "procrastinate",
        "with_procrastinate",
        [
            (
                "procrastinate",
                "--app=benchmarks.rivals.with_procrastinate.app",
                "worker",
                "--concurrency={places}",
                "--queues=issue",
                "--delete-jobs=successful",
            )
        ]
        * PROCESSES,
    ),
)
