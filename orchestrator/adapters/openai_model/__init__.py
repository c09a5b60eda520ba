"""The model port on any endpoint that speaks OpenAI's chat completions."""

from orchestrator.adapters.openai_model.config import OpenAIConfig
from orchestrator.adapters.openai_model.model import OpenAIModel

__all__ = ["OpenAIConfig", "OpenAIModel"]
