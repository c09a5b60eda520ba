"""The model port without a model: rules that do real work, call the same tools, and invent nothing."""

from orchestrator.adapters.offline_model.model import NAME, OfflineModel

__all__ = ["NAME", "OfflineModel"]
