"""Definitions that hypothesis makes up: all that the domain can express and the rules allow."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import strategies as st

from orchestrator.agents.domain import AgentDefinition, Budgets, CloudConnector, DataType, LocalDirectory, MessageFilter

_letters = st.characters(categories=["L", "N"], exclude_characters="\\")
_words = st.text(_letters, min_size=1, max_size=12)
_lower = st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyz0123456789_"), min_size=1, max_size=8)
_paths = st.lists(_words, min_size=1, max_size=4).map("/".join)
_ids = st.text(st.sampled_from("abcXYZ019._:-"), min_size=1, max_size=20).map(lambda text: f"d{text}")

local_directories = st.builds(
    LocalDirectory,
    directory_paths=st.lists(_paths, min_size=1, max_size=5, unique=True).map(tuple),
    device_id=st.just("") | _ids,
    file_extensions=st.lists(_lower.map(".{}".format), max_size=4).map(tuple),
)
_addresses = st.lists(st.builds("{}@{}".format, st.just("") | _lower, _lower), max_size=3, unique=True).map(tuple)
_texts = st.lists(_words, max_size=3, unique=True).map(tuple)
filters = st.builds(
    MessageFilter,
    senders=_addresses,
    recipients=_addresses,
    subject_contains=_texts,
    containers=_texts,
    unread_only=st.booleans(),
    has_attachment=st.booleans(),
    include_sent=st.booleans(),
    provider_query=st.just("") | _words,
)
cloud_connectors = st.builds(CloudConnector, connection_id=_ids, filter=filters)
budgets = st.builds(
    Budgets,
    max_model_calls=st.integers(1, 10_000),
    max_tokens=st.integers(1, 100_000_000),
    max_tool_calls=st.integers(1, 100_000),
    max_read_bytes=st.integers(1, 10 * 1024**3),
    max_creates=st.integers(1, 10_000),
    max_wall_time=st.timedeltas(timedelta(microseconds=1), timedelta(hours=24)),
)
definitions = st.builds(
    AgentDefinition,
    display_name=_words,
    source=local_directories | cloud_connectors,
    data_types=st.sets(st.sampled_from(DataType), min_size=1).map(frozenset),
    client_agent_id=st.just("") | st.uuids().map(str),
    prompt_template=st.text(_letters | st.sampled_from(" \n\t"), max_size=50),
    budgets=budgets,
)
