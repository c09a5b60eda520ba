"""Tools of devices as JSON in a column, and back."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from device_bridge.server.devices.domain import EffectClass, Manifest, Tool


def tools_to_json(manifest: Manifest) -> list[dict[str, Any]]:
    """Return the tools as they are stored."""
    return [{**asdict(tool), "effect_class": tool.effect_class.value} for tool in manifest.tools]


def manifest_of(hash_: str, stored: list[dict[str, Any]]) -> Manifest:
    """Return the manifest that was stored."""
    return Manifest(
        hash=hash_,
        tools=tuple(Tool(**{**fields, "effect_class": EffectClass(fields["effect_class"])}) for fields in stored),
    )
