"""TLS: a private certificate authority, leaf certificates, and the credentials of servers and channels.

    authority = Authority.create(directory)                    # ca.pem, ca-key.pem
    files = authority.issue(directory / "orchestrator", names=["orchestrator"], uri="spiffe://adiuva/service/orchestrator")
    server_credentials(ServerTls(cert=files.cert, key=files.key))
    channel_credentials(authority.cert)

Keys are ECDSA P-256. Files with keys are made with mode 0600 and appear whole or not at all.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_VALIDITY = timedelta(days=3650)
LEAF_VALIDITY = timedelta(days=397)
"""What browsers and platforms accept at most."""
CLOCK_SKEW = timedelta(minutes=5)
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")

_log = structlog.get_logger(__name__)


class TlsFileError(ValueError):
    """A certificate or key file is absent or unusable. The text names the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTls:
    """Where a server's certificate is.

    Attributes:
        cert: PEM: the leaf, then what is between it and the authority.
        key: PEM, its private key.
        client_ca: PEM; when given, peers must present a certificate of this authority.
    """

    cert: Path
    key: Path
    client_ca: Path | None = None


class Authority:
    """A private certificate authority in a directory: `ca.pem` and `ca-key.pem`.

    Attributes:
        cert: The file that peers trust.
    """

    def __init__(self, cert: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self.cert = cert
        self._certificate = certificate
        self._key = key

    @classmethod
    def create(cls, directory: Path, *, name: str = "Adiuva private CA", now: datetime | None = None) -> Authority:
        """Make a new authority; replaces one that is there."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            _builder(subject, subject, key.public_key(), AUTHORITY_VALIDITY, now)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
        )
        certificate = builder.sign(key, hashes.SHA256())
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(directory / "ca-key.pem", _key_pem(key))
        write_atomically(directory / "ca.pem", certificate.public_bytes(serialization.Encoding.PEM), mode=0o644)
        return cls(directory / "ca.pem", certificate, key)

    @classmethod
    def load(cls, directory: Path) -> Authority:
        """Open an authority that was made before.

        Raises:
            TlsFileError: A file is absent or unusable.
        """
        cert, key_file = directory / "ca.pem", directory / "ca-key.pem"
        try:
            certificate = x509.load_pem_x509_certificate(_read(cert))
            key = serialization.load_pem_private_key(_read(key_file), password=None)
        except ValueError as error:
            raise (
                error if isinstance(error, TlsFileError) else TlsFileError(f"{directory}: unusable authority")
            ) from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            msg = f"{key_file}: not the key of {cert}"
            raise TlsFileError(msg)
        return cls(cert, certificate, key)

    @classmethod
    def ensure(cls, directory: Path) -> Authority:
        """Open the authority in `directory`, or make it when there is none."""
        return cls.load(directory) if (directory / "ca.pem").exists() else cls.create(directory)

    def issue(
        self,
        stem: Path,
        *,
        names: Sequence[str] = (),
        uri: str | None = None,
        validity: timedelta = LEAF_VALIDITY,
        now: datetime | None = None,
    ) -> ServerTls:
        """Make a certificate for a server or a client.

        Args:
            stem: Where: `<stem>.pem` and `<stem>-key.pem`.
            names: Host names and IP addresses it is valid for, beside loopback.
            uri: The identity as a caller, e.g. "spiffe://adiuva/service/orchestrator".
            validity: From now on.
            now: Instead of the clock, with a time zone.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, stem.name[:64])])
        alternatives = [_general_name(name) for name in dict.fromkeys((*LOOPBACK_NAMES, *names))]
        if uri is not None:
            alternatives.append(x509.UniformResourceIdentifier(uri))
        builder = (
            _builder(subject, self._certificate.subject, key.public_key(), validity, now)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        certificate = builder.sign(self._key, hashes.SHA256())
        files = ServerTls(cert=stem.with_name(f"{stem.name}.pem"), key=stem.with_name(f"{stem.name}-key.pem"))
        write_private(files.key, _key_pem(key))
        write_atomically(files.cert, certificate.public_bytes(serialization.Encoding.PEM), mode=0o644)
        return files


def server_credentials(tls: ServerTls) -> grpc.ServerCredentials:
    """Return credentials that follow their files: new handshakes use a changed certificate, streams live on.

    A changed pair that does not fit together, e.g. between the two writes of a renewal, is not used.

    Raises:
        TlsFileError: At the start, a file is absent or unusable.
    """
    reloader = _Reloader(tls)
    return grpc.dynamic_ssl_server_credentials(
        reloader.initial,
        reloader.fetch,  # type: ignore[arg-type]  # the stubs do not know that None means "unchanged"
        require_client_authentication=tls.client_ca is not None,
    )


def channel_credentials(ca: Path, *, cert: Path | None = None, key: Path | None = None) -> grpc.ChannelCredentials:
    """Return credentials that trust the authority in `ca`, and present a client certificate if given.

    Raises:
        TlsFileError: A file is absent.
    """
    return grpc.ssl_channel_credentials(
        root_certificates=_read(ca),
        private_key=None if key is None else _read(key),
        certificate_chain=None if cert is None else _read(cert),
    )


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read; it appears whole or not at all."""
    write_atomically(path, content, mode=0o600)


def write_atomically(path: Path, content: bytes, *, mode: int) -> None:
    """Write a file beside its place, flush it to the disk, and move it there."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


class _Reloader:
    """Reads certificate files again when they change. Called from grpc's threads, one handshake at a time."""

    def __init__(self, tls: ServerTls) -> None:
        self._tls = tls
        self._version = self._current_version()
        self.initial = self._configuration()

    def fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """Return a new configuration, or None while nothing has changed."""
        version = self._current_version()
        if version == self._version:
            return None
        self._version = version
        try:
            configuration = self._configuration()
        except TlsFileError as error:
            _log.error("certificate not reloaded", fault=str(error))
            return None
        _log.info("certificate reloaded", file=str(self._tls.cert))
        return configuration

    def _current_version(self) -> tuple[int, ...]:
        files = [file for file in (self._tls.cert, self._tls.key, self._tls.client_ca) if file is not None]
        try:
            return tuple(part for file in files for part in _stamp(file))
        except OSError:
            return ()

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        key_pem, cert_pem = _read(self._tls.key), _read(self._tls.cert)
        try:
            key = serialization.load_pem_private_key(key_pem, password=None)
            leaf = x509.load_pem_x509_certificates(cert_pem)[0]
        except (ValueError, TypeError):
            msg = f"{self._tls.cert}: unusable certificate or key"
            raise TlsFileError(msg) from None
        if key.public_key() != leaf.public_key():
            msg = f"{self._tls.key}: not the key of {self._tls.cert}"
            raise TlsFileError(msg)
        client_ca = None if self._tls.client_ca is None else _read(self._tls.client_ca)
        return grpc.ssl_server_certificate_configuration([(key_pem, cert_pem)], client_ca)


def _stamp(file: Path) -> tuple[int, int, int]:
    status = file.stat()
    return (status.st_ino, status.st_mtime_ns, status.st_size)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        msg = f"{file}: {error.strerror}"
        raise TlsFileError(msg) from None


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, validity: timedelta, now: datetime | None
) -> x509.CertificateBuilder:
    start = now or datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - CLOCK_SKEW)
        .not_valid_after(start + validity)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
