"""New messages behind `runs.ports.Messages`, through the connectors service."""

from orchestrator.adapters.connector_messages.messages import ConnectorMessages

__all__ = ["ConnectorMessages"]
