"""Credentials are masked, prose is not, and no border of a chunk lets half of one through."""

from __future__ import annotations

import time

import pytest

from device_bridge.agent.sandbox.masking import CONTEXT, MARKER, mask
from tests.device_bridge.agent.sandbox.stage import Stage

# Made up, and put together so that no scanner takes this file for a leak.
BODY = "\n".join("MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7" for _ in range(20))
KEY = f"-----BEGIN {'PRIVATE'} KEY-----\n{BODY}\n-----END {'PRIVATE'} KEY-----"
ACCESS_KEY = "AKIA" + "IOSFODNN7EXAMPLE"
WEB_TOKEN = "eyJ" + "hbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0NTY3ODkwIn0." + "dozjgNryP4J3jVmNHl0w5N"
SECRETS = {
    "private key": KEY,
    "private key of another kind": KEY.replace("PRIVATE", "OPENSSH PRIVATE"),
    "key without end": KEY.rsplit("\n", 1)[0],
    "access key": ACCESS_KEY,
    "web token": WEB_TOKEN,
    "token of a forge": "ghp_" + "a1B2c3D4" * 5,
    "token of a chat": "xoxb-" + "123456789012-abcdefABCDEF",
    "key of a model": "sk-" + "proj-a1B2c3D4e5F6g7H8i9J0",
}
VALUES = ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "9f86d081884c7d659a2feaa0c55ad015", "Tr0ub4dor&3xkcd-936!")


@pytest.mark.parametrize("kind", SECRETS)
def test_a_credential_is_masked(kind: str) -> None:
    text = f"before {SECRETS[kind]}\nafter"

    masked, count = mask(text, 0, len(text))

    assert masked.split("\n")[0] == f"before {MARKER}"
    assert masked.endswith("after")
    assert count == 1


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize(
    "before",
    [
        "password=",
        "DB_PASSWORD: ",
        'secret: "',
        "api_key = '",
        '"apiKey": "',
        "aws_secret_access_key=",
        "Authorization: Bearer ",
        "TOKEN=>",
    ],
)
def test_the_random_value_of_a_secret_is_masked(before: str, value: str) -> None:
    text = f"{before}{value}\n"

    assert mask(text, 0, len(text)) == (f"{before}{MARKER}\n", 1)


@pytest.mark.parametrize(
    "text",
    [
        "The secretary: anna.rossi1985@studio-legale.example",
        "token_url: https://login.example.com/oauth2/v2/token",
        "Password: ask-the-customer-on-monday",
        "The passwords are in the safe, 2nd shelf, since 12/03/2026",
        "author: somebody-2026-03-12-first-draft",
        "secret = 12345678901234567890",
        "A key begins with -----BEGIN PUBLIC KEY----- and ends with -----END PUBLIC KEY-----",
        "Rechnung RE-2026-0012 für Projekt AKIADEMIE",
        "sk-learn and ghp_short are no keys",
        "commit 9f86d081884c7d659a2feaa0c55ad015",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert mask(text, 0, len(text)) == (text, 0)


def test_a_mention_of_a_key_masks_no_prose() -> None:
    text = f"Look for -----BEGIN {'PRIVATE'} KEY----- in the file.\nThen tell the customer about it."

    masked, _ = mask(text, 0, len(text))

    assert masked == f"Look for {MARKER} in the file.\nThen tell the customer about it."


@pytest.mark.parametrize("kind", SECRETS)
def test_a_credential_is_masked_on_both_sides_of_any_border(kind: str) -> None:
    secret = SECRETS[kind]
    text = f"{'x ' * 50}{secret} {'y ' * 50}"
    start = text.index(secret)
    for border in {*range(start, start + len(secret), max(1, len(secret) // 40)), start + len(secret) - 1}:
        first, _ = mask(text[: border + CONTEXT], 0, border)
        second, count = mask(text[max(0, border - CONTEXT) :], border - max(0, border - CONTEXT), len(text))

        assert first == "x " * 50 + (MARKER if border > start else "")
        assert second == MARKER + " " + "y " * 50
        assert count == 1


@pytest.mark.parametrize(
    "unit", ["eyJ", "a.", "secret", f"-----BEGIN {'PRIVATE'} KEY-----", "A" * 70 + "\n", "token: a1", "sk-a"]
)
def test_masking_takes_linear_time(unit: str) -> None:
    text = (unit * (300_000 // len(unit)))[:300_000]

    began = time.process_time()
    mask(text, 0, len(text))

    # Ordinary text of this length takes some milliseconds; a pattern that backtracks takes minutes.
    assert time.process_time() - began < 5


async def test_chunks_of_a_file_mask_what_the_whole_file_masks(stage: Stage) -> None:
    stage.write("notes.txt", f"\nintro {ACCESS_KEY} outro\n{KEY}\nend é\n")
    assert await stage.read("root/notes.txt") == "OK"
    assert stage.answer["masked_secrets"] == 2
    whole = stage.answer["text"]
    assert whole == f"{stage.nonce}\nintro {MARKER} outro\n{MARKER}\nend é\n"

    for limit in (16, 17, 100, 1000):
        seen, offset = "", 0
        while offset >= 0:
            answer = await stage.sandbox.read_file_content("root/notes.txt", offset, limit)
            seen += answer["text"]
            offset = answer.get("next_offset", -1)
        for piece in (ACCESS_KEY[4:10], BODY[:12], BODY[-12:]):
            assert piece not in seen
        while MARKER * 2 in seen:
            seen = seen.replace(MARKER * 2, MARKER)
        assert seen == whole
