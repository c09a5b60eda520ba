"""Mails and chat messages as text that a model can use: charsets, MIME, HTML, quotes, and a visible cut."""
