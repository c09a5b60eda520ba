"""The credentials of a local stack: a private authority, one token for each caller, and the client's own file."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from adiuva_rpc.client_config import FILE_NAME
from adiuva_rpc.tls import Authority, ServerTls, TlsFileError, write_private
from adiuva_rpc.tokens import new_token, token_hash

RENEW_BEFORE = timedelta(days=60)
"""A server's certificate is made anew at the first start within so long of its end."""
LOCAL_USER = "local"
"""The user that everything on this machine belongs to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Where the credentials are, and the tokens that this process hands on."""

    ca_file: Path
    server: ServerTls
    token_file: Path
    service_token: str
    """The orchestrator's, at the bridge and the connectors."""
    client_token: str
    """The user's own."""


def ensure_credentials(data: Path, names: Sequence[str] = ()) -> Credentials:
    """Return the credentials in the data directory; make what is missing. Every secret is readable by the owner alone.

    Args:
        data: Where they are kept.
        names: Host names that the servers are reached by, beside loopback.

    Raises:
        TlsFileError: a file that is there is not usable.
    """
    tls = data / "tls"
    authority = Authority.ensure(tls)
    server = ServerTls(cert=tls / "server.pem", key=tls / "server-key.pem")
    if not server.cert.exists() or not server.key.exists() or _ends_soon(server.cert):
        server = authority.issue(tls / "server", names=names)
    service_token = _ensure_token(data / "tokens" / "service")
    client_token = _ensure_token(data / "tokens" / "client")
    token_file = data / "tokens" / "callers.json"
    callers = [
        {"name": "orchestrator", "role": "service", "sha256": token_hash(service_token)},
        {"name": "client", "role": "user", "user_id": LOCAL_USER, "sha256": token_hash(client_token)},
    ]
    write_private(token_file, json.dumps(callers, indent=2).encode())
    return Credentials(
        ca_file=authority.cert,
        server=server,
        token_file=token_file,
        service_token=service_token,
        client_token=client_token,
    )


def write_client_file(
    data: Path, credentials: Credentials, *, orchestrator: str, bridge: str, bridge_devices: str, connectors: str
) -> Path:
    """Write `client.json` (0600) and return its path: the endpoints, the authority and the user's token."""
    file = data / FILE_NAME
    content = {
        "orchestrator": {"target": orchestrator},
        "device_bridge": {"target": bridge, "device_target": bridge_devices},
        "connectors": {"target": connectors},
        "ca_file": str(credentials.ca_file),
        "server_name": "localhost",
        "token": credentials.client_token,
    }
    write_private(file, (json.dumps(content, indent=2) + "\n").encode())
    return file


def _ends_soon(cert: Path) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(cert.read_bytes())
    except (OSError, ValueError):
        # The service says what is wrong with it when it reads it.
        return False
    return certificate.not_valid_after_utc - datetime.now(UTC) < RENEW_BEFORE


def _ensure_token(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        token, _hash = new_token()
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(file, token.encode())
        return token
    except OSError as error:
        raise TlsFileError(f"{file} cannot be read: {error.strerror}") from None


def main() -> None:
    """Make the credentials of a stack in containers: DIRECTORY HOST_NAME…."""
    if len(sys.argv) < 2:
        raise SystemExit("usage: python -m orchestrator.cli.stack.credentials DIRECTORY [HOST_NAME ...]")
    ensure_credentials(Path(sys.argv[1]), sys.argv[2:])


if __name__ == "__main__":
    main()
