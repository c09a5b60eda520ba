"""Logs: structured, with request and run ids, without secrets.

    configure_logging("orchestrator")
    log = structlog.get_logger(__name__)
    with run_in_logs(run.id):
        log.info("group done", group=group.name, files=12)

Lines are JSON, or coloured text when stderr is a terminal. Log ids, counts, sizes and reason codes; never the text of
files, messages, prompts or credentials. The redaction below is the net, not the rule.
"""

from __future__ import annotations

import contextlib
import logging
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final, TextIO

import structlog
from structlog.contextvars import bound_contextvars
from structlog.typing import EventDict, Processor

MASK: Final = "***"

QUIET_LIBRARIES: Final = (
    "grpc",
    "httpx",
    "httpx2",
    "httpcore",
    "sqlalchemy",
    "asyncio",
    "asyncpg",
    "procrastinate",
    "openai",
)
"""Their debug and info lines hold addresses, statements and payloads; only warnings pass."""

_SECRET_KEY = re.compile(
    r"(?:\w+_)?(?:token|secret|password|passwd|api_?key|private_key|credentials?|cookie)"
    r"|authorization|code|code_verifier|(?:device|user|enrolment)_code"
)
_SECRET_TEXT = re.compile(
    r"""
    -----BEGIN\ [A-Z ]*-----.*?(?:-----END\ [A-Z ]*-----|\Z)      # PEM, also one that was cut
    | (?i:\b(?:bearer|enrolment|basic)\s+)[^\s"',;]+               # authorization headers
    | \beyJ[\w-]{5,}\.[\w-]*\.?[\w-]*                              # JWT
    | \bya29\.[\w.-]+                                             # Google access tokens
    | \b1//[\w-]{10,}                                             # Google refresh tokens
    | \badv_[\w-]{10,}                                            # ours
    | \bsk-[\w-]{10,}                                             # model providers' keys
    | (?i:\b(?:access_token|refresh_token|id_token|client_secret|password|api_key|code_verifier|device_code)
        ["']?\s*[=:]\s*["']?)[^\s"'&,;}]+                          # form bodies, query strings, JSON
    | (?<=://)[^/\s:@]+:[^/\s@]+(?=@)                             # passwords in URLs
    """,
    re.VERBOSE | re.DOTALL,
)


def redact(text: str) -> str:
    """Mask what looks like a credential."""
    return _SECRET_TEXT.sub(MASK, text)


def redaction(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Mask credentials in a log line: values of telling keys, and what looks like one anywhere else, at any depth."""
    return {key: MASK if _is_secret(key) and value is not None else _clean(value) for key, value in event.items()}


def configure_logging(
    service: str, *, level: str = "INFO", stream: TextIO | None = None, json: bool | None = None
) -> None:
    """Set up structlog and the standard library's logging for this process; call it once, first.

    Args:
        service: Stands in every line.
        level: The least severe level that is written.
        stream: stderr by default.
        json: One JSON object a line; by default unless the stream is a terminal.
    """
    out = stream or sys.stderr
    as_json = not out.isatty() if json is None else json
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Redaction comes after the traceback became text, so that it is masked too. Local variables are never shown.
    final: list[Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        _with_service(service),
        structlog.processors.format_exc_info,
        redaction,
        structlog.processors.JSONRenderer(default=_unserialisable) if as_json else _console(),
    ]
    handler = logging.StreamHandler(out)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=final))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in QUIET_LIBRARIES:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


@contextlib.contextmanager
def run_in_logs(run_id: str) -> Iterator[None]:
    """Put `run_id` into every line that is written inside the block, and by the tasks started in it."""
    with bound_contextvars(run_id=run_id):
        yield


def _is_secret(key: object) -> bool:
    return _SECRET_KEY.fullmatch(str(key).lower().replace("-", "_")) is not None


def _clean(value: Any, depth: int = 6) -> Any:
    if isinstance(value, str):
        return redact(value)
    if depth == 0:
        return MASK
    if isinstance(value, Mapping):
        return {redact(str(key)): MASK if _is_secret(key) else _clean(inner, depth - 1) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(inner, depth - 1) for inner in value]
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if isinstance(value, int | float | bool | None):
        return value
    return redact(str(value))


def _with_service(service: str) -> Processor:
    def processor(_logger: object, _method: str, event: EventDict) -> EventDict:
        return {"service": service, **event}

    return processor


def _console() -> Processor:
    return structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)


def _unserialisable(value: object) -> str:
    return redact(str(value))
