"""Certificates: made, served, renewed, and used as identities."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import grpc
import pytest
import structlog
from cryptography import x509
from google.protobuf.wrappers_pb2 import StringValue

from adiuva_rpc.addresses import ListenAddress
from adiuva_rpc.channel import bearer, connect
from adiuva_rpc.identity import current_caller
from adiuva_rpc.server import RpcServer
from adiuva_rpc.tls import (
    Authority,
    ServerTls,
    TlsFileError,
    channel_credentials,
    server_credentials,
    write_private,
)
from tests.adiuva_rpc.probe import ANNA, BRIDGE, SERVICE, Probe, decode, encode, failure, probe_server

HELLO = StringValue(value="hello")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.create(tmp_path / "ca")


@pytest.fixture
def files(authority: Authority, tmp_path: Path) -> ServerTls:
    return authority.issue(tmp_path / "bridge", names=["bridge.example", "10.0.0.7"])


def leaf_of(files: ServerTls) -> x509.Certificate:
    return x509.load_pem_x509_certificate(files.cert.read_bytes())


def test_a_certificate_is_for_loopback_and_the_names_given(files: ServerTls) -> None:
    names = leaf_of(files).extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    assert set(names.get_values_for_type(x509.DNSName)) == {"localhost", "bridge.example"}
    assert set(map(str, names.get_values_for_type(x509.IPAddress))) == {"127.0.0.1", "::1", "10.0.0.7"}
    assert ipaddress.ip_address("10.0.0.7") in names.get_values_for_type(x509.IPAddress)


def test_a_certificate_is_valid_now_and_for_about_a_year(files: ServerTls) -> None:
    leaf = leaf_of(files)

    assert leaf.not_valid_before_utc < datetime.now(UTC) < leaf.not_valid_after_utc
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc < timedelta(days=398)


def test_a_leaf_may_sign_nothing(authority: Authority, files: ServerTls) -> None:
    root = x509.load_pem_x509_certificate(authority.cert.read_bytes())
    leaf_of(files).verify_directly_issued_by(root)

    assert leaf_of(files).extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert root.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0


def test_keys_are_readable_by_their_owner_only(tmp_path: Path, files: ServerTls) -> None:
    assert [stat.S_IMODE(file.stat().st_mode) for file in (files.key, tmp_path / "ca" / "ca-key.pem")] == [0o600] * 2


def test_writing_replaces_a_file_and_its_open_mode(tmp_path: Path) -> None:
    target = tmp_path / "key"
    target.write_bytes(b"old")
    target.chmod(0o644)

    write_private(target, b"new")

    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [target]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "directory"
    (target / "inside").mkdir(parents=True)

    with pytest.raises(OSError, match="directory"):
        write_private(target, b"new")

    assert list(tmp_path.iterdir()) == [target]


def test_an_authority_is_found_again(authority: Authority, tmp_path: Path) -> None:
    again = Authority.ensure(tmp_path / "ca")

    again.issue(tmp_path / "late")
    root = x509.load_pem_x509_certificate(authority.cert.read_bytes())
    x509.load_pem_x509_certificate((tmp_path / "late.pem").read_bytes()).verify_directly_issued_by(root)


def test_an_authority_is_made_where_there_is_none(tmp_path: Path) -> None:
    assert Authority.ensure(tmp_path / "new").cert.exists()


def test_files_that_are_unusable_are_named(authority: Authority, files: ServerTls, tmp_path: Path) -> None:
    with pytest.raises(TlsFileError, match=r"absent\.pem"):
        server_credentials(ServerTls(cert=tmp_path / "absent.pem", key=files.key))
    with pytest.raises(TlsFileError, match="not the key of"):
        server_credentials(ServerTls(cert=files.cert, key=tmp_path / "ca" / "ca-key.pem"))
    with pytest.raises(TlsFileError, match="unusable"):
        server_credentials(ServerTls(cert=files.key, key=files.key))
    with pytest.raises(TlsFileError, match=r"nowhere\.pem"):
        channel_credentials(tmp_path / "nowhere.pem")
    authority.cert.write_bytes(files.cert.read_bytes())
    with pytest.raises(TlsFileError, match="not the key of"):
        Authority.load(tmp_path / "ca")
    authority.cert.write_text("nothing")
    with pytest.raises(TlsFileError, match="unusable authority"):
        Authority.load(tmp_path / "ca")


async def test_a_call_over_tls(probe: Probe, authority: Authority, files: ServerTls) -> None:
    credentials = channel_credentials(authority.cert)
    async with (
        probe_server(probe, tls=files) as server,
        connect(f"localhost:{server.port}", tls=credentials, authorization=bearer(ANNA)) as channel,
    ):
        assert await probe.echo(channel)("hello") == "hello"


async def test_a_server_with_tls_may_listen_beyond_loopback(
    probe: Probe, authority: Authority, files: ServerTls
) -> None:
    everywhere = ListenAddress("0.0.0.0", 0)  # noqa: S104 - that is the point
    async with (
        probe_server(probe, tls=files, address=everywhere) as server,
        connect(
            f"127.0.0.1:{server.port}", tls=channel_credentials(authority.cert), authorization=bearer(ANNA)
        ) as channel,
    ):
        assert await probe.echo(channel)("hello") == "hello"


async def test_another_authority_is_not_trusted(probe: Probe, files: ServerTls, tmp_path: Path) -> None:
    stranger = Authority.create(tmp_path / "other")
    async with (
        probe_server(probe, tls=files) as server,
        connect(f"localhost:{server.port}", tls=channel_credentials(stranger.cert)) as channel,
    ):
        assert (await failure(probe.echo(channel)("hello"))).code is grpc.StatusCode.UNAVAILABLE
    assert probe.started == 0


async def test_the_name_of_the_server_is_checked(probe: Probe, authority: Authority, files: ServerTls) -> None:
    credentials = channel_credentials(authority.cert)
    async with probe_server(probe, tls=files) as server:
        target = f"127.0.0.1:{server.port}"
        async with connect(target, tls=credentials, authorization=bearer(ANNA), server_name="bridge.example") as good:
            assert await probe.echo(good)("hello") == "hello"
        async with connect(target, tls=credentials, authorization=bearer(ANNA), server_name="evil.example") as bad:
            assert (await failure(probe.echo(bad)("hello"))).code is grpc.StatusCode.UNAVAILABLE


async def served_serial(port: int, authority: Authority) -> int:
    """Return the serial number of the certificate that a new connection gets."""
    context = ssl.create_default_context(cafile=str(authority.cert))
    context.set_alpn_protocols(["h2"])
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return x509.load_der_x509_certificate(der).serial_number


async def test_a_renewed_certificate_is_served_while_streams_live_on(
    probe: Probe, authority: Authority, files: ServerTls
) -> None:
    credentials = channel_credentials(authority.cert)
    async with (
        probe_server(probe, tls=files) as server,
        connect(f"localhost:{server.port}", tls=credentials, authorization=bearer(ANNA)) as channel,
    ):
        call: Any = channel.stream_stream(f"/{SERVICE}/Talk", encode, decode)()
        await call.write(HELLO)
        await call.read()
        before = await served_serial(server.port, authority)

        authority.issue(files.cert.with_suffix(""))

        assert before != leaf_of(files).serial_number == await served_serial(server.port, authority)
        await call.write(HELLO)
        assert (await call.read()).value == "hello"


async def test_a_broken_renewal_leaves_the_old_certificate_in_force(
    probe: Probe, authority: Authority, files: ServerTls
) -> None:
    async with probe_server(probe, tls=files) as server:
        before = await served_serial(server.port, authority)
        files.cert.write_text("half a cert")

        with structlog.testing.capture_logs() as logs:
            assert await served_serial(server.port, authority) == before

    assert "certificate not reloaded" in {line["event"] for line in logs}


@pytest.fixture
def mutual(authority: Authority, files: ServerTls) -> ServerTls:
    return ServerTls(cert=files.cert, key=files.key, client_ca=authority.cert)


def credentials_with(authority: Authority, stem: Path, uri: str | None) -> grpc.ChannelCredentials:
    client = authority.issue(stem, uri=uri)
    return channel_credentials(authority.cert, cert=client.cert, key=client.key)


async def who_am_i(server: RpcServer, tls: grpc.ChannelCredentials, **options: Any) -> Any:
    async with connect(f"localhost:{server.port}", tls=tls, **options) as channel:
        with anyio.fail_after(10):
            return await channel.unary_unary(f"/{SERVICE}/Unary", encode, decode)(HELLO)


async def caller_name(_request: object, _context: object) -> StringValue:
    caller = current_caller()
    return StringValue(value=f"{caller.role.name} {caller.name} {caller.user_id} {caller.device_id}")


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("spiffe://adiuva/service/bridge", "SERVICE bridge None None"),
        ("spiffe://adiuva/user/anna", "USER anna anna None"),
    ],
)
async def test_a_client_certificate_is_an_identity(
    probe: Probe, authority: Authority, mutual: ServerTls, tmp_path: Path, uri: str, expected: str
) -> None:
    probe.unary = caller_name
    async with probe_server(probe, tls=mutual) as server:
        answer = await who_am_i(server, credentials_with(authority, tmp_path / "client", uri))

    assert answer.value == expected


async def test_a_token_beside_a_certificate_must_be_of_the_same_caller(
    probe: Probe, authority: Authority, mutual: ServerTls, tmp_path: Path
) -> None:
    probe.unary = caller_name
    tls = credentials_with(authority, tmp_path / "client", "spiffe://adiuva/service/bridge")
    async with probe_server(probe, tls=mutual) as server:
        same = await who_am_i(server, tls, authorization=bearer(BRIDGE))
        other = await failure(who_am_i(server, tls, authorization=bearer(ANNA)))

    assert same.value == "SERVICE bridge None None"
    assert other.code is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("uri", [None, "spiffe://elsewhere/service/bridge", "spiffe://adiuva/emperor/me"])
async def test_a_certificate_without_an_identity_of_ours_is_nobody(
    probe: Probe, authority: Authority, mutual: ServerTls, tmp_path: Path, uri: str | None
) -> None:
    async with probe_server(probe, tls=mutual) as server:
        found = await failure(who_am_i(server, credentials_with(authority, tmp_path / "client", uri)))

    assert found.code is grpc.StatusCode.UNAUTHENTICATED
    assert probe.started == 0


async def test_without_a_client_certificate_there_is_no_connection(
    probe: Probe, authority: Authority, mutual: ServerTls
) -> None:
    async with probe_server(probe, tls=mutual) as server:
        found = await failure(who_am_i(server, channel_credentials(authority.cert), authorization=bearer(ANNA)))

    assert found.code is grpc.StatusCode.UNAVAILABLE
