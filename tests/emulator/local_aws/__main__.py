"""Starts an AWS account on free ports of loopback, says how to ask it, and ends it on Ctrl-C or SIGTERM.

The first lines of the output are the variables for an AWS SDK or the AWS CLI, in the form of a shell.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import tempfile
import threading
from pathlib import Path

from local_aws.account import Account


def main() -> int:
    """The command ``local-aws``."""
    parser = argparse.ArgumentParser(
        prog="local-aws", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--directory", type=Path, help="where the logs go; without it: a directory that is deleted at the end")
    options = parser.parse_args()
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    with tempfile.TemporaryDirectory(prefix="local-aws-") as own, Account((options.directory or Path(own)).absolute()) as account:
        for name, value in account.environment().items():
            print(f"export {name}={shlex.quote(value)}")
        registry = account.registry
        print(f"# order of lists {registry.order}: ECR_GUARD_ORDER={registry.order} gives it again")
        print("# ready; Ctrl-C ends it", flush=True)
        over.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
