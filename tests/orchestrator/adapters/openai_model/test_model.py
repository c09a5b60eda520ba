from __future__ import annotations

import json
import logging
import socket
import traceback
from datetime import timedelta
from email.utils import format_datetime

import anyio
import pytest

from adiuva_rpc.settings import Secret
from orchestrator.adapters.openai_model import OpenAIConfig
from orchestrator.runs.domain import ModelBadAnswer, ModelFault, ModelRateLimited, ModelUnauthenticated
from orchestrator.runs.messages import ModelAnswer, ToolRequest
from tests.fakes.openai_api import KEY, FakeOpenAI, Scripted, ask, refuse, say
from tests.orchestrator.adapters.openai_model.asking import NOON, SCHEMA, Time, asking, question

SECOND = timedelta(seconds=1)


async def test_a_text_is_answered_with_what_it_used() -> None:
    usage = {"prompt_tokens": 120, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 64}}
    with FakeOpenAI([say("Done.", usage=usage)]) as api:
        async with asking(api) as model:
            answer = await model.answer(question())

    assert answer == ModelAnswer(
        text="Done.", tool_requests=(), model="first", input_tokens=120, cached_tokens=64, output_tokens=7, attempts=1
    )


async def test_tool_calls_come_back_as_the_model_wrote_them() -> None:
    calls = (
        {"id": "call_a", "name": "read_file_content", "arguments": {"path": "a/é.md"}},
        {"id": "call_b", "name": "create_task", "arguments": "{not json"},
    )
    with FakeOpenAI([Scripted(text="Looking.", tool_calls=calls)]) as api:
        async with asking(api) as model:
            answer = await model.answer(question())

    assert answer.text == "Looking."
    assert answer.tool_requests == (
        ToolRequest(request_id="call_a", name="read_file_content", arguments_json='{"path": "a/é.md"}'),
        ToolRequest(request_id="call_b", name="create_task", arguments_json="{not json"),
    )


async def test_the_same_conversation_is_always_written_in_the_same_way() -> None:
    with FakeOpenAI([say("One"), say("Two")]) as api:
        async with asking(api) as model:
            await model.answer(question())
            await model.answer(question())

    first, second = (json.dumps(request.body) for request in api.requests)
    assert first == second


async def test_the_temperature_is_sent_only_when_it_is_set() -> None:
    with FakeOpenAI([say("One"), say("Two")]) as api:
        async with asking(api) as model:
            await model.answer(question())
        async with asking(api, temperature=0.0) as model:
            await model.answer(question())

    assert [request.body.get("temperature") for request in api.requests] == [None, 0.0]


async def test_a_schema_is_sent_strict() -> None:
    with FakeOpenAI([say('{"standalone": []}')]) as api:
        async with asking(api) as model:
            await model.answer(question(response_schema=SCHEMA))

    assert api.requests[0].body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "strict": True, "schema": SCHEMA},
    }


async def test_an_endpoint_without_schemas_is_asked_again_for_text_and_this_is_remembered() -> None:
    with FakeOpenAI([say("{}"), say("{}")], strict_schemas=False) as api:
        async with asking(api) as model:
            first = await model.answer(question(response_schema=SCHEMA))
            second = await model.answer(question(response_schema=SCHEMA))

    assert (first.attempts, second.attempts) == (2, 1)
    assert ["response_format" in request.body for request in api.requests] == [True, False, False]


async def test_a_refusal_for_another_reason_is_not_held_against_the_schema() -> None:
    with FakeOpenAI([refuse(400), refuse(400), say("{}")]) as api:
        async with asking(api) as model:
            with pytest.raises(ModelFault, match="refused the request"):
                await model.answer(question(response_schema=SCHEMA))
            await model.answer(question(response_schema=SCHEMA))

    assert ["response_format" in request.body for request in api.requests] == [True, False, True]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "2"}, 2.0),
        ({"retry_after": "0.25"}, 0.25),
        ({"retry_after_ms": "1500", "retry_after": "60"}, 1.5),
        ({"retry_after": format_datetime(NOON + 7 * SECOND, usegmt=True)}, 7.0),
        ({"retry_after": format_datetime(NOON - 7 * SECOND, usegmt=True)}, 0.0),
        ({"retry_after": "-5"}, 0.0),
    ],
    ids=["seconds", "fraction", "milliseconds", "date", "past date", "negative"],
)
async def test_a_limit_is_waited_for_as_long_as_the_endpoint_asks(headers: dict[str, str], seconds: float) -> None:
    time = Time()
    with FakeOpenAI([refuse(429, **headers), say("Done.")]) as api:
        async with asking(api, time) as model:
            answer = await model.answer(question())

    assert time.slept == [seconds]
    assert answer.attempts == 2


@pytest.mark.parametrize("headers", [{}, {"retry_after": "soon"}, {"retry_after": "nan"}], ids=str)
@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 529])
async def test_what_may_pass_is_tried_again_after_a_growing_and_random_time(
    status: int, headers: dict[str, str]
) -> None:
    time = Time()
    with FakeOpenAI([refuse(status, **headers)] * 3 + [say("Done.")]) as api:
        async with asking(api, time) as model:
            answer = await model.answer(question())

    assert answer.attempts == 4
    assert len(set(time.slept)) == 3
    assert all(0 <= slept <= 2**attempt / 2 for attempt, slept in enumerate(time.slept, start=1))


async def test_the_endpoints_own_word_on_retrying_counts_more_than_the_status() -> None:
    no, yes = refuse(503, x_should_retry="false"), refuse(418, x_should_retry="true")
    with FakeOpenAI([no, yes, say("Done.")]) as api:
        async with asking(api) as model:
            with pytest.raises(ModelFault, match="HTTP 503"):
                await model.answer(question())
            answer = await model.answer(question())

    assert answer.attempts == 2


async def test_a_limit_that_lasts_longer_than_the_deadline_is_not_waited_for() -> None:
    time = Time()
    with FakeOpenAI([refuse(429, retry_after="3600")]) as api:
        async with asking(api, time) as model:
            with pytest.raises(ModelRateLimited, match=r"slow down .* \(HTTP 429\)"):
                await model.answer(question())

    assert time.slept == []


async def test_a_limit_that_never_ends_is_given_up_after_the_attempts() -> None:
    with FakeOpenAI([refuse(429)] * 4) as api:
        async with asking(api, max_attempts=4) as model:
            with pytest.raises(ModelRateLimited):
                await model.answer(question())

    assert api.unused == []


async def test_a_spent_quota_is_not_waited_for() -> None:
    body = json.dumps({"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}})
    with FakeOpenAI([Scripted(status=429, body=body)]) as api:
        async with asking(api) as model:
            with pytest.raises(ModelRateLimited, match="no quota left"):
                await model.answer(question())


async def test_a_refused_key_ends_it_at_once_for_every_model() -> None:
    with FakeOpenAI(key="sk-another") as api:
        async with asking(api, models=("first", "second")) as model:
            with pytest.raises(ModelUnauthenticated, match="Check the key"):
                await model.answer(question())

    assert len(api.requests) == 1


async def test_a_model_that_the_key_may_not_use_is_a_matter_of_the_key() -> None:
    with FakeOpenAI([refuse(403)]) as api:
        async with asking(api) as model:
            with pytest.raises(ModelUnauthenticated, match="the model first"):
                await model.answer(question())


@pytest.mark.parametrize("failure", [refuse(403), refuse(404), refuse(400), refuse(500), Scripted(body="<html>")])
async def test_the_next_model_answers_when_the_first_does_not_and_the_record_names_it(failure: Scripted) -> None:
    with FakeOpenAI([failure, say("Done.")]) as api:
        async with asking(api, models=("first", "second"), max_attempts=1) as model:
            answer = await model.answer(question())

    assert (answer.model, answer.attempts) == ("second", 2)
    assert [request.body["model"] for request in api.requests] == ["first", "second"]


async def test_when_no_model_answers_the_fault_of_the_first_is_told() -> None:
    with FakeOpenAI([refuse(429, retry_after="900"), refuse(404)]) as api:
        async with asking(api, models=("first", "second")) as model:
            with pytest.raises(ModelRateLimited):
                await model.answer(question())


async def test_a_slow_model_leaves_time_for_the_one_after_it() -> None:
    time = Time()
    with FakeOpenAI([refuse(429, retry_after="40"), say("Done.")]) as api:
        async with asking(api, time, models=("first", "second"), max_total_wait=60 * SECOND) as model:
            answer = await model.answer(question())

    assert (answer.model, time.slept) == ("second", [])


async def test_a_model_that_hangs_is_given_up_in_time() -> None:
    with FakeOpenAI([Scripted(hang=True), Scripted(hang=True)]) as api:
        async with asking(api, request_timeout=SECOND / 10, max_attempts=2) as model:
            with anyio.fail_after(10), pytest.raises(ModelFault, match="did not answer within"):
                await model.answer(question())

    assert len(api.requests) == 2


async def test_an_answer_never_takes_longer_than_the_total() -> None:
    with FakeOpenAI([Scripted(hang=True)]) as api:
        async with asking(api, max_total_wait=SECOND / 10, max_attempts=1) as model:
            with anyio.fail_after(10), pytest.raises(ModelFault, match="did not answer within"):
                await model.answer(question())


async def test_an_endpoint_that_is_down_is_tried_again_and_then_named_as_such() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    time = Time()
    with FakeOpenAI() as api:
        async with asking(api, time, base_url=f"http://127.0.0.1:{port}/v1", max_attempts=3) as model:
            with pytest.raises(ModelFault, match="cannot be reached") as error:
                await model.answer(question())

    assert error.value.reason == "MODEL_UNAVAILABLE"
    assert len(time.slept) == 2


async def test_an_answer_that_breaks_off_is_asked_for_again() -> None:
    with FakeOpenAI([Scripted(reset=True), say("Done.")]) as api:
        async with asking(api) as model:
            answer = await model.answer(question())

    assert (answer.text, answer.attempts) == ("Done.", 2)


BAD_BODIES = {
    "html": "<html><body>Bad gateway</body></html>",
    "nothing": "",
    "half": '{"choices": [{"message": {"content": "ha',
    "deep": "[" * 100_000,
    "list": "[]",
    "null": "null",
    "no choices": '{"choices": []}',
    "error with status 200": '{"error": {"message": "upstream failed"}}',
    "choice without message": '{"choices": [{"finish_reason": "stop"}]}',
    "empty text": '{"choices": [{"message": {"content": "  "}, "finish_reason": "stop"}]}',
    "no text": '{"choices": [{"message": {"content": null, "tool_calls": []}, "finish_reason": "stop"}]}',
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES)
async def test_what_is_no_answer_is_asked_for_again_and_then_said_to_be_none(body: str) -> None:
    with FakeOpenAI([Scripted(body=body)] * 2) as api:
        async with asking(api, max_attempts=2) as model:
            with pytest.raises(ModelBadAnswer):
                await model.answer(question())

    assert api.unused == []


@pytest.mark.parametrize(
    "bad",
    [say("Half of", finish_reason="length"), say("No", finish_reason="content_filter"), Scripted(pad_bytes=10_000_000)],
    ids=["cut off", "filtered", "10 MB"],
)
async def test_an_answer_that_would_be_as_bad_again_is_not_asked_for_twice(bad: Scripted) -> None:
    with FakeOpenAI([bad]) as api:
        async with asking(api) as model:
            with pytest.raises(ModelBadAnswer):
                await model.answer(question())

    assert len(api.requests) == 1


async def test_a_redirect_is_not_followed() -> None:
    with FakeOpenAI() as elsewhere, FakeOpenAI([refuse(307, location=elsewhere.url)]) as api:
        async with asking(api) as model:
            with pytest.raises(ModelFault, match="which is not followed"):
                await model.answer(question())

    assert elsewhere.requests == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
async def test_no_fault_and_no_log_tells_the_key_the_prompt_or_the_endpoints_words(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with FakeOpenAI([refuse(status, error=f"{KEY} is wrong for hello: canary-body")]) as api:
        async with asking(api, max_attempts=1) as model:
            with pytest.raises(ModelFault) as error:
                await model.answer(question())

    assert isinstance(error.value, ModelFault)
    told = "".join(traceback.format_exception(error.value)) + error.value.message + caplog.text
    context = error.value.__context__
    while context is not None:
        told += repr(context)
        context = context.__context__
    for secret in (KEY, "hello", "canary-body", "Process the files"):
        assert secret not in told


def test_a_config_shows_no_key() -> None:
    config = OpenAIConfig(base_url="http://x/v1", api_key=Secret(KEY), models=("first",))

    assert KEY not in f"{config!r} {config}"


@pytest.mark.parametrize(
    "wrong", [{"models": ()}, {"models": ("",)}, {"max_attempts": 0}, {"request_timeout": timedelta(0)}], ids=str
)
def test_a_config_that_could_never_answer_is_refused(wrong: dict[str, object]) -> None:
    given = {"base_url": "http://x/v1", "api_key": Secret(KEY), "models": ("first",), **wrong}

    with pytest.raises(ValueError, match="must be"):
        OpenAIConfig(**given)  # type: ignore[arg-type]  # wrong on purpose


async def test_the_name_is_the_first_model() -> None:
    with FakeOpenAI([ask("read_file_content", path="a")]) as api:
        async with asking(api, models=("first", "second")) as model:
            assert model.name == "first"
