"""The providers that this service has been set up with."""

from __future__ import annotations

from collections.abc import Iterable

from connectors.errors import ProviderUnknown
from connectors.providers.port import Provider


class Registry:
    """Finds a provider by its name."""

    def __init__(self, providers: Iterable[Provider]) -> None:
        """Take the providers.

        Raises:
            ValueError: Two have the same name.
        """
        self._providers: dict[str, Provider] = {}
        for provider in providers:
            if provider.name in self._providers:
                raise ValueError(f"there are two providers named {provider.name!r}")
            self._providers[provider.name] = provider

    @property
    def names(self) -> tuple[str, ...]:
        """All names, in order of the alphabet."""
        return tuple(sorted(self._providers))

    def get(self, name: str) -> Provider:
        """Return a provider.

        Raises:
            ProviderUnknown: There is none of that name.
        """
        provider = self._providers.get(name)
        if provider is None:
            raise ProviderUnknown(name)
        return provider
