"""What the device agent uses of the kit loads no server library."""

from __future__ import annotations

import subprocess
import sys

LIGHT = ["channel", "identity", "errors", "status", "telemetry", "settings", "tls", "outbox", "tokens", "failpoints"]
HEAVY = [
    "grpc_health.v1",  # grpc itself imports the empty packages above these two
    "grpc_reflection.v1alpha",
    "opentelemetry",
    "prometheus_client",
    "sqlalchemy",
    "asyncpg",
    "openai",
    "procrastinate",
    "croniter",
]


def test_the_light_modules_load_no_server_library_and_no_stub() -> None:
    script = f"""
import sys, {", ".join(f"adiuva_rpc.{module}" for module in LIGHT)}
print([name for name in {HEAVY!r} if name in sys.modules])
print([name for name in sys.modules if name == "adiuva" or name.startswith("adiuva.")])
"""

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)

    assert done.stdout.splitlines() == ["[]", "[]"]
