"""What became of the files of a group."""

from __future__ import annotations

import json

from inline_snapshot import snapshot

from orchestrator.runs.domain import Item, ToolFailure, ToolOutcome
from orchestrator.runs.messages import Assistant, ToolRequest
from orchestrator.runs.progress import Conversation, Step
from orchestrator.runs.reading import look_at_reading


def read(path: str, *, name: str = "read_file_content") -> ToolRequest:
    return ToolRequest(request_id=path, name=name, arguments_json=json.dumps({"path": path}))


def answered(path: str, **more: object) -> ToolOutcome:
    return ToolOutcome(result_json=json.dumps({"path": path, "text": "x", **more}))


def failed(reason: str) -> ToolOutcome:
    return ToolOutcome(failure=ToolFailure(reason=reason, message=reason))


def conversation(*steps: list[tuple[ToolRequest, ToolOutcome]]) -> Conversation:
    held = Conversation("s", "u")
    for number, step in enumerate(steps):
        held.steps[number] = Step(
            Assistant("", tuple(request for request, _ in step)),
            outcomes={index: outcome for index, (_, outcome) in enumerate(step)},
        )
    return held


def items(*paths: str) -> list[Item]:
    return [Item(path=path, size_bytes=1, mtime_ns=1) for path in paths]


def test_each_file_is_done_failed_or_unread() -> None:
    held = conversation(
        [
            (read("r/a"), answered("r/a")),
            (read("r/bin"), failed("BINARY")),
            (read("r/enc"), failed("UNSUPPORTED_ENCODING")),
        ],
        [(read("r/gone"), failed("NOT_FOUND")), (read("r/big"), failed("RESULT_TOO_LARGE"))],
        [(read("r/only-looked-at", name="get_file_metadata"), answered("r/only-looked-at"))],
    )

    reading = look_at_reading(items("r/a", "r/bin", "r/enc", "r/gone", "r/big", "r/only-looked-at"), held)

    assert [item.path for item in reading.done] == ["r/a", "r/bin", "r/enc"]
    assert reading.failed == {"NOT_FOUND": ["r/gone"], "RESULT_TOO_LARGE": ["r/big"]}
    assert reading.unread == ["r/only-looked-at"]
    assert [(error.reason, error.message, error.items) for error in reading.errors("g1")] == snapshot(
        [
            (
                "FILE_UNREAD",
                "The model ended without reading these files. The next run offers them again.",
                ("r/only-looked-at",),
            ),
            ("FILE_UNREADABLE", "These files are gone from the device. The next run looks again.", ("r/gone",)),
            ("FILE_UNREADABLE", "These files are too large to be read.", ("r/big",)),
        ]
    )


def test_a_later_success_makes_up_for_a_failure_and_a_failure_does_not_undo_a_success() -> None:
    held = conversation(
        [(read("r/a"), failed("TIMEOUT")), (read("r/b"), answered("r/b"))],
        [(read("r/a"), answered("r/a")), (read("r/b"), failed("UNAVAILABLE"))],
    )

    reading = look_at_reading(items("r/a", "r/b"), held)

    assert [item.path for item in reading.done] == ["r/a", "r/b"]
    assert reading.errors("g1") == []


def test_a_file_whose_end_was_not_reached_is_unfinished() -> None:
    half = conversation([(read("r/a"), answered("r/a", next_offset=10))])
    whole = conversation([(read("r/a"), answered("r/a", next_offset=10))], [(read("r/a"), answered("r/a"))])

    assert look_at_reading(items("r/a"), half).unfinished == ["r/a"]
    assert look_at_reading(items("r/a"), whole).unfinished == []
    assert [item.path for item in look_at_reading(items("r/a"), half).done] == ["r/a"]
    assert [(error.reason, error.items) for error in look_at_reading(items("r/a"), half).errors("g1")] == [
        ("FILE_TRUNCATED", ("r/a",))
    ]


def test_a_path_in_another_spelling_is_known_by_what_the_device_answers() -> None:
    held = conversation([(read("./r//a"), answered("r/a"))])

    assert look_at_reading(items("r/a"), held).unread == []


def test_requests_without_an_outcome_or_with_unreadable_arguments_count_for_nothing() -> None:
    held = conversation([(ToolRequest(request_id="1", name="read_file_content", arguments_json="no"), failed("X"))])
    held.steps[1] = Step(Assistant("", (read("r/a"),)))

    assert look_at_reading(items("r/a"), held).unread == ["r/a"]
