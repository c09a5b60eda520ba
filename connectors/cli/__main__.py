"""`python -m connectors.cli`: the same commands without the `adiuva` in front."""

from __future__ import annotations

from connectors.cli.commands import app

if __name__ == "__main__":
    app(prog_name="connections")
