"""The device agent stays light: it runs on a laptop, and imports no server library and no document library."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = [
    "sqlalchemy",
    "asyncpg",
    "openai",
    "croniter",
    "alembic",
    "procrastinate",
    "psycopg",
    "opentelemetry",
    "dateparser",
    "httpx2",
    # grpc itself imports the empty packages grpc_health and grpc_reflection when they are installed.
    "grpc_health.v1",
    "grpc_reflection.v1alpha",
    "pypdf",
    "docx",
    "openpyxl",
]

IMPORT_APP = "import device_bridge.agent.app"
RUN_HELP = """
import contextlib, io
from orchestrator.cli.main import main
sys.argv = ["adiuva", "device", "--help"]
with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
    main()
assert "--bridge" in out.getvalue(), out.getvalue()
"""


@pytest.mark.parametrize("program", [IMPORT_APP, RUN_HELP], ids=["import", "adiuva device --help"])
def test_the_agent_imports_no_heavy_library(program: str) -> None:
    program = f"import json, sys\n{program}\nprint(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []
