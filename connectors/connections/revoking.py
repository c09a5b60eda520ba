"""Ends grants at their providers, as far as the providers can and answer."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from adiuva_rpc.errors import AdiuvaError
from connectors.providers.port import Identity

REVOKE_SECONDS: Final = 10.0

_log = structlog.get_logger(__name__)


async def revoke(identity: Identity, token: str, *, connection_id: str) -> bool:
    """End a grant at its provider; never raises for what the provider does.

    Args:
        identity: The provider's.
        token: A token of the grant: the one for refreshing, or an access token if that is all there is.
        connection_id: For the log.

    Returns:
        Whether the provider has ended it.
    """
    try:
        async with asyncio.timeout(REVOKE_SECONDS):
            return await identity.revoke(token)
    except TimeoutError:
        reason = "TIMEOUT"
    except AdiuvaError as error:
        reason = error.reason
    except Exception as error:  # noqa: BLE001 - whatever it is, what is being ended here must still end
        # Its text could hold the token.
        reason = type(error).__name__
    _log.warning("grant not revoked at the provider", connection_id=connection_id, reason=reason)
    return False
