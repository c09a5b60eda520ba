"""One running stack for the tests that do not harm it."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.openai_api import say
from tests.sample import FILES
from tests.system.accounts import ANNA, WORK, Providers, add_account, emulator_process
from tests.system.endpoint import Endpoint
from tests.system.local_stack import LocalStack, local_stack
from tests.system.users import User, add_user, background, like_anybody


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    # Not pytest's tmp_path: a private PostgreSQL needs a short path that another user may walk through.
    with tempfile.TemporaryDirectory(prefix="adiuva-sys-", ignore_cleanup_errors=True) as directory:
        yield Path(directory)


@pytest.fixture(scope="session")
def sample_root(scratch: Path) -> Path:
    root = scratch / "sample"
    shutil.copytree(FILES, root)
    return root


@pytest.fixture(scope="session")
def stack(scratch: Path, sample_root: Path) -> Iterator[LocalStack]:
    with local_stack(scratch / "stack", sample_root) as running:
        yield running


@pytest.fixture(scope="session")
def mia(stack: LocalStack, scratch: Path) -> Iterator[User]:
    """A user with a device that is online."""
    user = add_user(stack, "mia", scratch)
    with user.at_the_device(prefix=like_anybody() or ()):
        yield user


@pytest.fixture(scope="session")
def noa(stack: LocalStack, scratch: Path) -> User:
    """A user whose device has just left, and with a run that waits for it."""
    user = add_user(stack, "noa", scratch)
    user.folder("notes", a="- [ ] Order the chairs\n")
    with user.at_the_device():
        pass
    agent = user.json("agents", "create", "Notes", "--directory", user.root.name)
    user.json("runs", "start", agent["agent_id"])
    return user


@pytest.fixture(scope="session")
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as running:
        yield running


@pytest.fixture(scope="session")
def model_stack(endpoint: Endpoint, scratch: Path) -> Iterator[LocalStack]:
    """A running stack that asks the endpoint."""
    with local_stack(scratch / "models", None, env=endpoint.environment) as running:
        assert running.facts["model"] == "fake-1"
        yield running


@pytest.fixture(scope="session")
def healed(scratch: Path) -> Path:
    """The file whose presence ends the hanging of uma's device."""
    return scratch / "healed"


@pytest.fixture(scope="session")
def uma(model_stack: LocalStack, endpoint: Endpoint, scratch: Path, healed: Path) -> Iterator[User]:
    """A user with a device whose tool for reading hangs, and with a run that waits for it."""
    user = add_user(model_stack, "uma", scratch)
    endpoint.script("uma's", *(say("Nothing there.") for _ in range(4)))
    client = user.client
    options = {
        "--target": client["device_bridge"]["device_target"],
        "--ca": client["ca_file"],
        "--code": user.json("devices", "enrol")["code"],
        "--healed": str(healed),
    }
    command = [
        sys.executable,
        "-m",
        "tests.system.hanging_device",
        *(word for pair in options.items() for word in pair),
    ]
    with background(command, log=scratch / "hanging.err"):
        agent = user.json("agents", "create", "Slow", "--directory", "slow", "--instructions", "uma's")
        user.json("runs", "start", agent["agent_id"])
        yield user


@pytest.fixture(scope="session")
def providers(scratch: Path) -> Iterator[Providers]:
    """The emulated providers of mail and chat, with two accounts."""
    with emulator_process(scratch / "emulator.err") as running:
        add_account(running, ANNA)
        add_account(running, WORK)
        running.do(lambda emulator: emulator.microsoft.set_device_interval(1))
        yield running


@pytest.fixture(scope="session")
def cloud(providers: Providers, scratch: Path) -> Iterator[LocalStack]:
    """A running stack that has the emulated providers, and logs everything."""
    env = {**providers.environment, "ADIUVA_LOG_LEVEL": "DEBUG"}
    with local_stack(scratch / "cloud", None, env=env) as running:
        yield running


@pytest.fixture(scope="session")
def anna(cloud: LocalStack, scratch: Path) -> User:
    """A user who links accounts."""
    return add_user(cloud, "anna", scratch)


@pytest.fixture(scope="session")
def ben(cloud: LocalStack, scratch: Path) -> User:
    """Another one."""
    return add_user(cloud, "ben", scratch)
