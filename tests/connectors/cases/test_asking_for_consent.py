"""What may be asked for when a consent begins, and what there is no way to ask for."""

from __future__ import annotations

import uuid

import pytest
from google.protobuf.descriptor import FieldDescriptor

from adiuva.connectors.v1 import (
    admin_service_pb2,
    connection_service_pb2 as pb,
    message_service_pb2,
)
from tests.connectors.cases.lab import Lab, failure_of


@pytest.mark.parametrize("provider", ["", "yahoo", "Gmail", "gmail ", "../gmail", "https://evil.example", "x" * 5_000])
async def test_a_provider_that_there_is_not_is_unknown(lab: Lab, provider: str) -> None:
    failure = await failure_of(lab.begin(provider))

    assert (failure.code.name, failure.reason) == ("NOT_FOUND", "PROVIDER_UNKNOWN")
    assert len(failure.message) < 256


async def test_gmail_has_no_codes_for_devices(lab: Lab) -> None:
    failure = await failure_of(lab.begin("gmail", flow=pb.AUTHORIZATION_FLOW_DEVICE_CODE, redirect_uri=""))

    assert failure.reason == "FLOW_UNSUPPORTED"


@pytest.mark.parametrize(
    "uri",
    [
        "http://localhost:8765/callback/..",
        "http://localhost:8765/callback?x=1",
        "http://localhost:8765/other",
        "http://localhost@evil.example:8765/callback",
        "http://localhost.evil.example:8765/callback",
        "http://LOCALHOST:8765/callback",
        "https://evil.example/callback",
        "http://10.0.0.1:8765/callback",
        "",
    ],
)
async def test_a_consent_comes_back_to_no_other_place(lab: Lab, uri: str) -> None:
    known = await lab.connections_of("anna")

    failure = await failure_of(lab.begin("gmail", redirect_uri=uri))

    assert (failure.code.name, "redirect_uri" in failure.message) == ("INVALID_ARGUMENT", True)
    assert await lab.connections_of("anna") == known


def test_no_request_has_a_place_for_an_address_of_a_provider() -> None:
    services = [
        service
        for module in (pb, message_service_pb2, admin_service_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
    ]
    fields: set[str] = set()

    def walk(message: object, path: str) -> None:
        for one in message.fields:  # type: ignore[attr-defined] # a descriptor, whose type has no public name
            fields.add(one.name)
            if one.type == FieldDescriptor.TYPE_MESSAGE and one.message_type.full_name not in path:
                walk(one.message_type, f"{path} {one.message_type.full_name}")

    for service in services:
        for method in service.methods:
            walk(method.input_type, method.input_type.full_name)

    words = ("url", "uri", "endpoint", "host", "issuer", "authority", "address", "tenant", "link")
    assert {name for name in fields if any(word in name for word in words)} == {"redirect_uri"}


async def test_a_user_cannot_begin_more_than_ten_consents_at_a_time(lab: Lab) -> None:
    for _ in range(10):
        await lab.begin("gmail", user="ben")

    failure = await failure_of(lab.begin("gmail", user="ben"))

    assert failure.reason == "TOO_MANY_FLOWS"
    assert 0 < (failure.retry_after or 0) <= 600
    assert (await lab.begin("gmail", user="anna")).flow_id


async def test_a_request_that_is_repeated_begins_one_consent(lab: Lab) -> None:
    request_id = str(uuid.uuid4())

    begun = [await lab.begin("gmail", request_id=request_id) for _ in range(2)]

    assert begun[0] == begun[1]
    failure = await failure_of(lab.begin("outlook", request_id=request_id))
    assert failure.reason == "REQUEST_ID_REUSED"
