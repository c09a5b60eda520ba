"""What enrolment needs from the store."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCredential:
    """What the store knows about a device's credential."""

    device_id: str
    user_id: str
    sha256: str
    """Of the credential that is valid, in hexadecimal."""
    used: bool
    """It has authenticated once: the code that led to it is dead."""
    revoked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDevice:
    """A device about to be made, or about to get a new credential."""

    device_id: str
    """For a device that does not exist yet; otherwise it keeps its own."""
    installation_id: str
    display_name: str


class EnrolmentStore(Protocol):
    """Codes and credentials, by their hashes only. Every method may raise StoreUnavailable."""

    async def add_code(
        self, user_id: str, *, request_id: str, sha256: str, lifetime: float, max_unused: int
    ) -> datetime:
        """Remember a code and return when it expires.

        Args:
            user_id: Whose devices it leads to.
            request_id: The caller's; one code each.
            sha256: Of the code, in hexadecimal.
            lifetime: Seconds.
            max_unused: Codes of the user that may be unused and unexpired at a time.

        Raises:
            CodeShownOnce: There is a code of that request_id already.
            TooManyCodes: The user has too many.
        """
        ...

    async def code_is_good(self, sha256: str) -> bool:
        """Tell whether a code may still be redeemed by somebody."""
        ...

    async def redeem(self, sha256: str, device: NewDevice, *, credential_of: CredentialMaker) -> tuple[str, str]:
        """Redeem a code: make its device, or replace a credential that was never used.

        Args:
            sha256: Of the code.
            device: Who redeems it.
            credential_of: Returns the hash of the credential to store, given the device's id.

        Returns:
            The device's id and its user's.

        Raises:
            CodeRefused: Unknown, expired, used, or begun by another installation.
        """
        ...

    async def credential(self, device_id: str) -> DeviceCredential | None:
        """Return what is known about a device's credential, or None when there is no such device."""
        ...

    async def mark_used(self, device_id: str, sha256: str) -> bool:
        """The credential with this hash has authenticated: from now on its code is dead.

        Returns:
            Whether it is still the device's credential; a repeated enrolment may just have replaced it.
        """
        ...


class CredentialMaker(Protocol):
    """Makes the credential once the device's id is known."""

    def __call__(self, device_id: str) -> str:
        """Return the hash of the credential."""
        ...
