"""The rotation of keys, as the operator asks for it: as much as fits into one call, with what is left to see."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from connectors.admin.domain import KeptBack, KeyUse, Rotated
from connectors.admin.ports import AuditTrail, Now
from connectors.connections.domain import AuditAction, AuditEvent
from connectors.vault.ports import KeyStore
from connectors.vault.rotation import RotationFailure, rotate
from connectors.vault.vault import Vault

STEP: Final = 500
"""Grants between two looks at the clock."""
MAX_FAILURES: Final = 100
"""Told one by one; the keys in use tell of the others."""


class KeyRotation:
    """Puts grants under the newest key.

    Args:
        store: Of the wrapped keys.
        vault: Rewraps them.
        audit: Hears of each rotation.
        now: The present time.
    """

    def __init__(self, *, store: KeyStore, vault: Vault, audit: AuditTrail, now: Now) -> None:
        self._store = store
        self._vault = vault
        self._audit = audit
        self._now = now

    async def rotate(self, *, actor: str, until: datetime) -> Rotated:
        """Rewrap what is not under the newest key, until then; another call goes on where this one ends.

        Args:
            actor: Who asked for it.
            until: When to stop.

        Raises:
            KeyProviderUnavailable, StoreUnavailable: What was done so far stays done.
        """
        rewrapped = 0
        failures: list[RotationFailure] = []
        after: tuple[str, str] | None = None
        while True:
            progress = await rotate(self._store, self._vault, after=after, limit=STEP)
            rewrapped += progress.rewrapped
            failures.extend(progress.failures)
            after = progress.after
            if after is None or self._now() >= until:
                break
        reason = failures[0].reason if failures else ""
        await self._audit.add(AuditEvent(action=AuditAction.KEYS_ROTATED, actor=actor, reason=reason, at=self._now()))
        counts = {progress.current: 0, **await self._store.counts()}
        return Rotated(
            rewrapped=rewrapped,
            failures=tuple(
                KeptBack(connection_id=one.owner.connection_id, reason=one.reason, key_id=one.key_id)
                for one in failures[:MAX_FAILURES]
            ),
            keys=tuple(
                KeyUse(key_id=key_id, grants=grants, current=key_id == progress.current)
                for key_id, grants in sorted(counts.items())
            ),
        )
