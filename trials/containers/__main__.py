"""Plays docs/how-to/compose.md in real containers: make containers BROKER=redis STEPS="kills upgrade"

It builds both images, starts what docker-compose.yml describes, and does what the page says: then what a deployment
meets. It needs root, podman with runc, and debootstrap. PostgreSQL, RabbitMQ and Redis are those of Debian, in images
that stand in for the official ones; these and their base are kept for the next run, everything else is removed.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

from trials.containers.bases import forget
from trials.containers.podman import Failed, missing, pip_settings
from trials.containers.stage import Stage, Step, Wrong, set_up
from trials.containers.story import GROUPS

CHECKOUT = Path(__file__).parents[2]
FIRST = "page"  # without it nothing runs


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m trials.containers", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--broker", choices=["rabbitmq", "redis"], default="rabbitmq")
    parser.add_argument("--steps", nargs="+", choices=list(GROUPS), default=list(GROUPS))
    parser.add_argument("--debian", default="bookworm", help="the suite whose Python and servers are used")
    parser.add_argument("--forget", action="store_true", help="remove the base images too, at the end")
    chosen = parser.parse_args()
    if why := missing():
        print(f"containers: {why}", file=sys.stderr)
        return 2
    for number in (signal.SIGINT, signal.SIGTERM):  # so that everything is removed then too
        signal.signal(number, signal.default_int_handler)
    began, failed = time.monotonic(), 0
    with tempfile.TemporaryDirectory(prefix="onboarding-containers-") as folder, pip_settings() as mounts:
        Path(folder).chmod(0o755)  # containers read lists and the configuration in it, as users of their own
        stage = Stage(f"onboarding-trial-{os.getpid()}", chosen.broker, CHECKOUT, Path(folder), mounts)
        try:
            failed = play(stage, chosen.steps, chosen.debian)
        except KeyboardInterrupt:
            print("interrupted")
            failed = 1
        finally:
            if stage.opened is not None:
                stage.opened.close()
                for left in stage.opened.left_behind():
                    print(f"  LEFT BEHIND: {left}")
                    failed += 1
            if chosen.forget:
                forget()
    took = time.monotonic() - began
    print(f"containers {chosen.broker}: {'failed' if failed else 'passed'} in {took / 60:.1f} min")
    return 1 if failed else 0


def play(stage: Stage, groups: list[str], suite: str) -> int:
    """Play the steps of these groups. Returns how many failed; after one of the first group, no more is played."""

    def first(stage: Stage) -> None:
        stage.note(", ".join(set_up(stage.checkout, stage.folder, suite)))

    if not done(stage, Step("the base images are there", first)):
        return 1
    failed = 0
    for group in [name for name in GROUPS if name == FIRST or name in groups]:
        print(group, flush=True)
        for step in GROUPS[group](stage):
            if not done(stage, step):
                failed += 1
                if group == FIRST:
                    return failed
    return failed


def done(stage: Stage, step: Step) -> bool:
    began, why = time.monotonic(), ""
    try:
        step.play(stage)
    except (Wrong, Failed) as error:
        why = str(error)
    except Exception as error:
        traceback.print_exc()
        why = f"an error of the trial: {type(error).__name__}"
    print(f"  {'FAILED' if why else 'ok':6}  {step.says}  ({time.monotonic() - began:.1f} s)", flush=True)
    for note in stage.notes:
        print(f"          {note}")
    stage.notes.clear()
    if why:
        print(f"          {why}", flush=True)
    return not why


if __name__ == "__main__":
    sys.exit(main())
