"""Make the Python stubs from the contracts; with --check, compare instead of writing.

The stubs land in protos/python/adiuva, which mirrors the proto packages, and are checked in: a checkout runs without a
generator, and a reviewer sees what a contract's change does to the Python side.
"""

from __future__ import annotations

import argparse
import filecmp
import shutil
import sys
import tempfile
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

PROTOS = Path(__file__).resolve().parent
STUBS = PROTOS / "python"


def generate(out: Path) -> None:
    """Write the stubs and their .pyi of every contract below protos/adiuva under `out`.

    Raises:
        SystemExit: protoc refused a contract; it has printed why.
    """
    sources = sorted(str(path.relative_to(PROTOS)) for path in (PROTOS / "adiuva").rglob("*.proto"))
    includes = [f"-I{PROTOS}", f"-I{Path(grpc_tools.__file__).parent / '_proto'}"]
    flags = [
        f"--python_out={out}",
        f"--grpc_python_out={out}",
        f"--mypy_out=quiet:{out}",
        f"--mypy_grpc_out=quiet:{out}",
    ]
    # protoc looks for its mypy plugins on PATH; the ones of this interpreter are meant.
    plugins = [
        f"--plugin={name}={Path(sys.executable).parent / name}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")
    ]
    if protoc.main(["protoc", *includes, *plugins, *flags, *sources]) != 0:
        sys.exit(1)


def differences(fresh: Path, checked_in: Path) -> list[str]:
    """Return the stub files that differ, are missing or are left over, relative to `fresh` (empty when all agree)."""
    names = {path.relative_to(root) for root in (fresh, checked_in) for path in (root / "adiuva").rglob("*.py*")}
    return sorted(
        str(name)
        for name in names
        if name.suffix in {".py", ".pyi"}
        and not (
            (fresh / name).is_file()
            and (checked_in / name).is_file()
            and filecmp.cmp(fresh / name, checked_in / name, shallow=False)
        )
    )


def main() -> None:
    """Run the command line: no argument writes, --check compares and exits 1 on a difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare with the checked-in stubs; write nothing")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
        stale = differences(Path(scratch), STUBS)
        if arguments.check:
            if stale:
                sys.exit("stale stubs (run `make proto`):\n  " + "\n  ".join(stale))
            print("the stubs are fresh")
            return
        shutil.rmtree(STUBS / "adiuva", ignore_errors=True)
        shutil.copytree(Path(scratch) / "adiuva", STUBS / "adiuva")
        print(f"wrote {len(list((STUBS / 'adiuva').rglob('*.py')))} stubs")


if __name__ == "__main__":
    main()
