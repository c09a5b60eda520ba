"""The words in which tools describe their arguments: small JSON Schemas, all closed and bounded."""

from __future__ import annotations

from collections.abc import Sequence

from device_bridge.agent.domain import JsonObject

ROW_ID_FORMAT = "uuid"
MAX_TITLE = 300
MAX_TEXT = 10_000
MAX_CONTENT = 100_000
MAX_PATH = 1024


def closed(properties: JsonObject, *, required: Sequence[str] = ()) -> JsonObject:
    """Return the schema of an object that has these properties and no others."""
    schema: JsonObject = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        schema["required"] = list(required)
    return schema


def text(description: str, *, max_length: int = MAX_TEXT) -> JsonObject:
    """Return the schema of a text that may be empty."""
    return {"type": "string", "maxLength": max_length, "description": description}


def line(description: str, *, max_length: int = MAX_TITLE) -> JsonObject:
    """Return the schema of a text that is not blank."""
    return {"type": "string", "minLength": 1, "maxLength": max_length, "pattern": r"\S", "description": description}


def row_id(description: str) -> JsonObject:
    """Return the schema of the id of a record. What does not look like one is answered NOT_FOUND, like any other."""
    return {"type": "string", "format": ROW_ID_FORMAT, "maxLength": 36, "description": description}


def optional_row_id(description: str) -> JsonObject:
    """Return the schema of an id that may be null."""
    return {**row_id(description), "type": ["string", "null"]}


def date(description: str) -> JsonObject:
    """Return the schema of a calendar day."""
    return {"type": "string", "format": "date", "maxLength": 10, "description": description}


def optional_date(description: str) -> JsonObject:
    """Return the schema of a calendar day that may be null."""
    return {**date(description), "type": ["string", "null"]}


def choice(description: str, values: Sequence[str | None]) -> JsonObject:
    """Return the schema of one of a few values."""
    return {"enum": list(values), "description": description}


def flag(description: str) -> JsonObject:
    """Return the schema of true or false."""
    return {"type": "boolean", "description": description}


def integer(description: str, *, minimum: int, maximum: int) -> JsonObject:
    """Return the schema of a whole number within bounds."""
    return {"type": "integer", "minimum": minimum, "maximum": maximum, "description": description}


def array(items: JsonObject, description: str, *, max_items: int, min_items: int = 0) -> JsonObject:
    """Return the schema of a bounded list."""
    schema = {"type": "array", "items": items, "maxItems": max_items, "description": description}
    return {**schema, "minItems": min_items} if min_items else schema


PAGE_TOKEN = text("next_page_token of the answer before; leave it out for the first page.", max_length=4096)

SOURCE = line(
    "Where the fact comes from: the path of the file exactly as listed, or the message id.", max_length=MAX_PATH
)
