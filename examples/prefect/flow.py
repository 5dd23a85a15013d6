"""The loop of full_stack as a Prefect flow: monitor and, on drift, retrain.

    python flow.py once      run the flow now
    python flow.py serve     run it at five past every hour, until Ctrl-C

FULL_STACK says how full_stack is called, such as "full_stack --state /var/lib/pmmds"; its settings
(PMMDS_...) are passed on. `once` ends with the exit code of the monitor, or 2 if anything failed.
"""

import argparse
import os
import shlex
import subprocess
import sys
from datetime import timedelta

from prefect import flow, get_run_logger, task

# What `full_stack monitor` ends with.
STABLE, DRIFT, ERROR, INSUFFICIENT_DATA = 0, 1, 2, 3


def full_stack(*arguments: str) -> int:
    """Runs full_stack, with its words in the log of the run, and returns its exit code."""
    command = [*shlex.split(os.environ.get("FULL_STACK", "full_stack")), *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    get_run_logger().info("%s ended with %d\n%s", shlex.join(arguments), done.returncode, done.stdout)
    return done.returncode


# A slot is looked at once, whoever asks: a second try finds what the first one found.
@task(retries=2, retry_delay_seconds=10)
def monitor(slot: str | None) -> int:
    """The verdict on the newest slot that is over; on the last 24 hours where there is none."""
    code = full_stack("monitor", *(["--slot", slot] if slot else []))
    if code not in (STABLE, DRIFT, INSUFFICIENT_DATA):
        raise RuntimeError(f"the monitor ended with {code}")
    return code


# Tried once: what it left half done, the run of the next hour takes up.
@task
def retrain() -> None:
    """A challenger for what is in production; it is promoted if it is better."""
    code = full_stack("retrain")
    if code != 0:
        raise RuntimeError(f"retraining ended with {code}")


@flow(name="pmmds", log_prints=True)
def watch(slot: str | None = "1h") -> int:
    """What full_stack would do in this hour."""
    verdict = monitor(slot)
    if verdict == DRIFT:
        retrain()
    return verdict


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["once", "serve"])
    parser.add_argument("--slot", default="1h", help='length of a slot, or "none" for the last 24 hours')
    parser.add_argument("--every", type=float, metavar="SECONDS", help="instead of every hour")
    arguments = parser.parse_args()
    slot = None if arguments.slot == "none" else arguments.slot
    if arguments.what == "once":
        try:
            return watch(slot)
        except Exception as error:  # noqa: BLE001, whatever it is: 1 would be read as drift
            print(f"error: {error}", file=sys.stderr)
            return ERROR
    schedule = {"interval": timedelta(seconds=arguments.every)} if arguments.every else {"cron": "5 * * * *"}
    # One run at a time: an hour that takes longer delays the next one.
    watch.serve(name="hourly", parameters={"slot": slot}, limit=1, **schedule)
    return 0


if __name__ == "__main__":
    sys.exit(main())
