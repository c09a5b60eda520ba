"""What a run's caller is told of its journal: the fold, without conversations."""

from __future__ import annotations

from dataclasses import dataclass, field

from orchestrator.runs.domain import Phase, RunError, Usage
from orchestrator.runs.events import StoredEvent
from orchestrator.runs.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """How far a run is, or how it ended. Small, and without file or message text but for the model's own summaries."""

    phase: Phase = Phase.NONE
    device_id: str = ""
    items_found: int = 0
    items_processed: int = 0
    effects: dict[str, dict[str, int]] = field(default_factory=dict)
    """How many effects, by kind and entity type: {"CREATED": {"task": 3}}."""
    usage: Usage = field(default_factory=Usage)
    errors: tuple[RunError, ...] = ()
    summaries: tuple[str, ...] = field(default=(), repr=False)
    model: str = ""
    last_seq: int = 0


def report_of(events: list[StoredEvent]) -> RunReport:
    """Return the report of a journal."""
    progress = Progress()
    for entry in events:
        progress.apply(entry.event)
    effects: dict[str, dict[str, int]] = {}
    for effect in progress.effects:
        of_kind = effects.setdefault(effect.kind.value, {})
        of_kind[effect.entity_type] = of_kind.get(effect.entity_type, 0) + 1
    order = {group.group_id: place for place, group in enumerate(progress.groups or ())}
    finished = sorted(progress.finished_groups.values(), key=lambda ended: order.get(ended.group, len(order)))
    return RunReport(
        phase=progress.phase,
        device_id=progress.device_id,
        items_found=len(progress.items or ()),
        items_processed=len(progress.processed),
        effects=effects,
        usage=progress.usage,
        errors=tuple(progress.errors),
        summaries=tuple(group.summary for group in finished if group.summary),
        model=progress.model,
        last_seq=events[-1].seq if events else 0,
    )
