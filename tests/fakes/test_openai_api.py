from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.fakes.openai_api import KEY, FakeOpenAI, ask, load_script, say

ROOT = Path(__file__).parents[2]
USER = {"role": "user", "content": "Hello"}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
ASKED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
TOLD = {"role": "tool", "tool_call_id": "c1", "content": "{}"}


def post(url: str, body: Any, key: str = KEY) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx2.post(f"{url}/chat/completions", json=body, headers=headers, trust_env=False)


def tool(**function: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, **function}}


def schema(inner: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": inner}}


BAD: dict[str, dict[str, Any]] = {
    "no model": {"messages": [USER]},
    "no messages": {"model": "m", "messages": []},
    "unknown role": {"model": "m", "messages": [{"role": "robot", "content": "x"}]},
    "unknown argument": {"model": "m", "messages": [USER], "wisdom": 3},
    "no content": {"model": "m", "messages": [{"role": "user", "content": None}]},
    "silent assistant": {"model": "m", "messages": [USER, {"role": "assistant", "content": None}]},
    "unanswered call": {"model": "m", "messages": [USER, ASKED]},
    "call answered too late": {"model": "m", "messages": [USER, ASKED, USER, TOLD]},
    "call answered twice": {"model": "m", "messages": [USER, ASKED, TOLD, TOLD]},
    "answer to nothing": {"model": "m", "messages": [USER, TOLD]},
    "no tools in tools": {"model": "m", "messages": [USER], "tools": []},
    "bad tool name": {"model": "m", "messages": [USER], "tools": [tool(name="has space")]},
    "bad tool schema": {
        "model": "m",
        "messages": [USER],
        "tools": [tool(parameters={"type": "object", "required": 1})],
    },
    "tool schema of a list": {"model": "m", "messages": [USER], "tools": [tool(parameters={"type": "array"})]},
    "the same tool twice": {"model": "m", "messages": [USER], "tools": [tool(), tool()]},
    "tool choice without tools": {"model": "m", "messages": [USER], "tool_choice": "auto"},
    "open strict schema": {"model": "m", "messages": [USER], "response_format": schema({"type": "object"})},
    "optional in strict schema": {
        "model": "m",
        "messages": [USER],
        "response_format": schema(
            {"type": "object", "additionalProperties": False, "properties": {"a": {"type": "string"}}, "required": []}
        ),
    },
}


@pytest.mark.parametrize("body", BAD.values(), ids=BAD)
def test_a_request_that_the_real_endpoint_refuses_is_refused(body: dict[str, Any]) -> None:
    with FakeOpenAI([say("Hello", repeat=True)]) as api:
        response = post(api.url, body)

    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"


def test_a_good_request_is_answered_from_the_script_and_remembered() -> None:
    with FakeOpenAI([ask("f", path="x"), say("Hello")]) as api:
        first = post(api.url, {"model": "m", "messages": [USER], "tools": [tool()]}).json()
        second = post(api.url, {"model": "m", "messages": [USER, ASKED, TOLD]}).json()

    assert first["choices"][0]["message"]["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"path": "x"}'}
    assert second["choices"][0]["message"]["content"] == "Hello"
    assert [len(request.body["messages"]) for request in api.requests] == [1, 3]


def test_an_answer_can_be_meant_for_some_requests_only() -> None:
    with FakeOpenAI([say("Of triage", when="triage"), say("Else", repeat=True)]) as api:
        answers = [
            post(api.url, {"model": "m", "messages": [{"role": "user", "content": text}]}).json()
            for text in ("work", "do the triage", "do the triage")
        ]

    assert [answer["choices"][0]["message"]["content"] for answer in answers] == ["Else", "Of triage", "Else"]


def test_a_wrong_key_and_an_unknown_model_are_refused() -> None:
    body = {"model": "m", "messages": [USER]}
    with FakeOpenAI([say("Hello")], models=frozenset({"other"})) as api:
        assert post(api.url, body, key="wrong").status_code == 401
        assert post(api.url, body).status_code == 404


def test_a_script_that_is_used_up_says_so() -> None:
    with FakeOpenAI() as api:
        response = post(api.url, {"model": "m", "messages": [USER]})

    assert "script_exhausted" in response.json()["error"]["message"]


def test_it_runs_as_a_process_with_a_script(tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text(json.dumps([{"tool_calls": [{"name": "f", "arguments": {}}], "when": "Hello"}]))
    command = [sys.executable, "-m", "tests.fakes.openai_api", "--port", "0", "--key", "sk-x", "--script", str(script)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        answer = post(url, {"model": "m", "messages": [USER], "tools": [tool()]}, key="sk-x").json()
        process.terminate()

    assert answer["choices"][0]["finish_reason"] == "tool_calls"
    assert process.returncode == 0


def test_a_script_with_an_unknown_field_is_refused(tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text('[{"txet": "Hello"}]')

    with pytest.raises(TypeError, match="txet"):
        load_script(script)
