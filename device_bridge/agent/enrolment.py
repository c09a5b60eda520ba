"""How the device proves who it is: with its credential, or with a one-time code that the bridge trades for one."""

from __future__ import annotations

from dataclasses import replace

import structlog

from adiuva_rpc.failpoints import failpoint
from device_bridge.agent.identity_store import BridgeAddress, IdentityStore, StoredIdentity
from device_bridge.agent.link.domain import EndKind, SessionEnd, Welcome

USING_CODE = "the stored credential is not accepted; enrolling with the code"
"""The detail of a refusal after which the code is tried."""

log = structlog.get_logger(__name__)


class DeviceIdentity:
    """The identity of this device at one bridge; what the link needs of it.

    The credential is used as long as it works, and the code only without one: a start that is repeated with the same
    command line, code and all, does what the first one did. Until the Welcome with the credential has been stored, the
    code is presented again with the same installation_id, for which the bridge issues another credential.
    """

    def __init__(self, store: IdentityStore, stored: StoredIdentity, bridge: BridgeAddress, code: str = "") -> None:
        self._store = store
        self._stored = stored
        self._bridge = bridge
        self._code = code
        moved = stored.bridge is not None and stored.bridge != bridge
        # A code for another bridge: the credential is none of its business.
        self._use_code = bool(code) and (not stored.credential or moved)

    @property
    def installation_id(self) -> str:
        """The id made once at installation."""
        return self._stored.installation_id

    @property
    def enrolled(self) -> bool:
        """Whether the next session presents a credential, not a code."""
        return not self._use_code

    def authorization(self) -> str:
        """Return the value of the `authorization` metadata."""
        return f"Enrolment {self._code}" if self._use_code else f"Bearer {self._stored.credential}"

    def welcomed(self, welcome: Welcome) -> None:
        """Take note of a Welcome; what is new in it is on the disk when this returns.

        Raises:
            OSError: It could not be stored.
        """
        credential = welcome.issued_credential or self._stored.credential
        identity = replace(
            self._stored,
            bridge=self._bridge,
            device_id=welcome.device_id,
            user_id=welcome.user_id,
            credential=credential,
        )
        failpoint("device.before_credential")
        if identity != self._stored:
            self._store.save(identity)
        failpoint("device.after_credential")
        self._stored = identity
        if welcome.issued_credential:
            log.info("device_enrolled", device_id=welcome.device_id)
            self._use_code = False
            self._code = ""

    def refused(self, end: SessionEnd) -> SessionEnd:
        """Return what a refusal means for the sessions to come.

        A refused credential gives way to a code, if there is one. A refused code is the end: it works once only. A
        credential that the bridge does not know is tried again all the same, since a bridge may lose its memory and be
        restored.
        """
        if self._use_code:
            return replace(end, permanent=True)
        if self._code:
            log.info("credential_refused_using_code", kind=end.kind.name)
            self._use_code = True
            return replace(end, kind=EndKind.REFUSED, permanent=False, detail=USING_CODE)
        return end
