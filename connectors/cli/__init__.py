"""`adiuva connections`: link, list, test and end accounts for mail and chat. A client of the connectors."""

from __future__ import annotations

from connectors.cli.commands import app

__all__ = ["app"]
