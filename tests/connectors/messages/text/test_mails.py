from __future__ import annotations

import pytest

from tests.connectors.messages.text import golden


@pytest.mark.parametrize("name", golden.names())
def test_a_mail_becomes_the_text_beside_it(name: str) -> None:
    assert golden.told(name) == golden.expected(name)


@pytest.mark.parametrize("name", golden.names())
def test_nothing_of_a_mail_shows_in_its_repr(name: str) -> None:
    mail = golden.mail(name)

    shown = repr(mail)

    assert not mail.text or mail.text not in shown
    assert not mail.subject or mail.subject not in shown
    assert not mail.from_.address or mail.from_.address not in shown
