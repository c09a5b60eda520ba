"""What the user of this device has decided: its name, and the folders that agents may look at. Local consent only.

`DIR/device/config.json`; nothing in it ever comes from the network. A folder keeps the name under which it was shared,
because agents refer to it by that name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from device_bridge.agent.private_files import damaged, read_json, write_json
from device_bridge.agent.sandbox.roots import Root, RootRefused, open_root, slug

FILE_NAME = "config.json"
MAX_ROOTS = 64
"""As many as a bridge takes in one Hello."""
_VERSION = 1


class ConfigFault(Exception):
    """The user asked for something that cannot be. The message is for the person at this device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedFolder:
    """A folder that agents may look at."""

    name: str
    """What agents call it; the only part of it that leaves the device."""
    path: Path

    def open(self, guarded: Path) -> Root:
        """Open the folder for the sandbox, with `guarded` kept closed.

        Raises:
            RootRefused: It is not there, or must not be shared.
        """
        return open_root(self.path, self.name, own_directory=guarded, home=_home())


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceConfig:
    """The decisions."""

    display_name: str = ""
    """What the user calls the device; the host's name when empty."""
    roots: tuple[SharedFolder, ...] = ()

    def sharing(self, directory: Path, *, data: Path) -> DeviceConfig:
        """Return the configuration with one more folder; the same when it is shared already.

        Args:
            directory: The folder.
            data: The data directory of the agent.

        Raises:
            ConfigFault: There is no such folder, it must not be shared, or there are too many.
        """
        path = directory.expanduser().absolute()
        if not path.is_dir():
            message = f"There is no folder {directory}. Make it first, or name another one."
            raise ConfigFault(message)
        path = path.resolve()
        if any(root.path == path for root in self.roots):
            return self
        if len(self.roots) == MAX_ROOTS:
            message = f"{MAX_ROOTS} folders are shared already. Remove one with `adiuva device roots remove`."
            raise ConfigFault(message)
        added = SharedFolder(name=_unused(slug(path.name), [root.name for root in self.roots]), path=path)
        roots = (*self.roots, added)
        try:
            added.open(guarded_directory(data, roots))
        except RootRefused as error:
            message = f"{error}."
            raise ConfigFault(message) from error
        return replace(self, roots=roots)

    def without(self, which: str) -> DeviceConfig:
        """Return the configuration without a folder, named by its name or its path.

        Raises:
            ConfigFault: It is not shared.
        """
        path = Path(which).expanduser().absolute()
        # The path may be gone by now, or lead elsewhere: compared as it was stored, and as it is.
        left = tuple(root for root in self.roots if root.name != which and root.path not in {path, path.resolve()})
        if len(left) == len(self.roots):
            shared = ", ".join(root.name for root in self.roots) or "none"
            message = f"{which} is not shared. Shared folders: {shared}."
            raise ConfigFault(message)
        return replace(self, roots=left)


def load_config(directory: Path) -> DeviceConfig:
    """Return the configuration in a device's directory; an empty one when there is none.

    Raises:
        DamagedFile: The file is not a configuration.
    """
    path = directory / FILE_NAME
    content = read_json(path)
    if content is None:
        return DeviceConfig()
    name, roots = content.get("display_name"), content.get("roots")
    if content.get("version") != _VERSION or not isinstance(name, str) or not isinstance(roots, list):
        raise damaged(path)
    return DeviceConfig(display_name=name, roots=tuple(_root(entry, path) for entry in roots))


def save_config(directory: Path, config: DeviceConfig) -> None:
    """Store the configuration.

    Raises:
        OSError: It could not be stored.
    """
    write_json(
        directory / FILE_NAME,
        {
            "version": _VERSION,
            "display_name": config.display_name,
            "roots": [{"name": root.name, "path": str(root.path)} for root in config.roots],
        },
    )


def guarded_directory(data: Path, roots: Sequence[SharedFolder]) -> Path:
    """Return the directory that stays closed to agents even where a shared folder contains it.

    The whole data directory: it may also hold the keys and tokens of a local stack. Only when a folder inside it is
    shared, as the demo does, the device's own part alone.

    Raises:
        ConfigFault: One folder lies inside the data directory and another one contains it.
    """
    data = data.resolve()
    inside = [root for root in roots if root.path.is_relative_to(data)]
    around = [root for root in roots if data.is_relative_to(root.path)]
    if not inside:
        return data
    if any(root.path == data for root in inside):
        message = f"{data} holds the agent's own data; share a folder in it, or use another --data directory."
        raise ConfigFault(message)
    if around:
        message = (
            f"{around[0].path} holds the agent's own data directory, and {inside[0].path} lies in it. "
            "Share only one of them, or use another --data directory."
        )
        raise ConfigFault(message)
    return data / "device"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:
        return Path("/")  # a service account without one


def _root(entry: object, path: Path) -> SharedFolder:
    if not isinstance(entry, dict):
        raise damaged(path)
    name, folder = entry.get("name"), entry.get("path")
    if not isinstance(name, str) or not isinstance(folder, str) or not name or not folder:
        raise damaged(path)
    return SharedFolder(name=name, path=Path(folder))


def _unused(name: str, taken: Sequence[str]) -> str:
    candidate, number = name, 2
    while candidate in taken:
        candidate, number = f"{name}-{number}", number + 1
    return candidate
