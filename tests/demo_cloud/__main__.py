"""`python -m tests.demo_cloud`: the second main job from nothing, on emulated accounts. Ends with 0 when all was well.

python -m tests.demo_cloud [--json] [--data DIRECTORY]
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc.aio

from adiuva_rpc.status import from_rpc_error
from orchestrator.cli.options import err, print_json, printable
from orchestrator.cli.stack.errors import StackError
from tests.demo_cloud.accounts import DemoError, emulated_providers, use_emulated_providers
from tests.demo_cloud.demo import demo


async def _whole(data: Path, *, json: bool) -> bool:
    async with emulated_providers() as base_url:
        use_emulated_providers(base_url)
        seen = await demo(data, base_url, json=json)
    if json:
        print_json(seen.as_json())
    return not seen.faults()


@contextmanager
def _directory(named: Path | None) -> Iterator[Path]:
    if named is not None:
        directory = named.expanduser().absolute()
        try:
            directory.mkdir(parents=True, mode=0o700)
        except OSError as error:
            raise DemoError(f"{directory} cannot be made ({error.strerror})") from None
        yield directory
        return
    # As root, the database belongs to a user of its own; what cannot be removed is left to the system.
    with tempfile.TemporaryDirectory(prefix="adiuva-demo-", ignore_cleanup_errors=True) as scratch:
        yield Path(scratch)


def main() -> int:
    """Run the demo, and return the exit code: 0 as expected, 1 not so, 130 interrupted."""
    parser = argparse.ArgumentParser(prog="python -m tests.demo_cloud")
    parser.add_argument("--json", action="store_true", help="answer with one JSON document")
    parser.add_argument("--data", type=Path, help="keep everything here, in a new directory; thrown away by default")
    given = parser.parse_args()
    try:
        with _directory(given.data) as data:
            return 0 if asyncio.run(_whole(data, json=given.json)) else 1
    except (DemoError, StackError) as error:
        err.print(f"error: {error}", markup=False)
        return 1
    except grpc.aio.AioRpcError as error:
        failure = from_rpc_error(error)
        err.print(f"error: [{failure.reason}] {printable(failure.message)}", markup=False)
        return 1
    except (asyncio.CancelledError, KeyboardInterrupt):
        err.print("stopped")
        return 130


if __name__ == "__main__":
    sys.exit(main())
