"""The providers by their names."""

from __future__ import annotations

from typing import cast

import pytest

from connectors.errors import ProviderUnknown
from connectors.providers.port import Provider
from connectors.providers.registry import Registry


class Named:
    def __init__(self, name: str) -> None:
        self.name = name


def provider(name: str) -> Provider:
    return cast("Provider", Named(name))


def test_a_provider_is_found_by_its_name() -> None:
    gmail = provider("gmail")

    assert Registry([provider("outlook"), gmail]).get("gmail") is gmail


def test_the_names_are_in_order() -> None:
    assert Registry([provider("teams"), provider("gmail")]).names == ("gmail", "teams")


@pytest.mark.parametrize("name", ["", "gmail", "Outlook", "outlook "])
def test_any_other_name_is_unknown(name: str) -> None:
    with pytest.raises(ProviderUnknown) as caught:
        Registry([provider("outlook")]).get(name)

    assert caught.value.provider == name


def test_two_providers_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="'gmail'"):
        Registry([provider("gmail"), provider("gmail")])
