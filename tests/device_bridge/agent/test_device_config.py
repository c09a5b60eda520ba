"""The user's own decisions: which folders agents may look at."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from device_bridge.agent.device_config import (
    FILE_NAME,
    MAX_ROOTS,
    ConfigFault,
    DeviceConfig,
    SharedFolder,
    guarded_directory,
    load_config,
    save_config,
)
from device_bridge.agent.private_files import DamagedFile


@pytest.fixture
def data(tmp_path: Path) -> Path:
    made = tmp_path / "data"
    made.mkdir()
    return made


def folder(tmp_path: Path, name: str) -> Path:
    made = tmp_path / name
    made.mkdir(parents=True)
    return made


def test_a_new_device_shares_nothing(data: Path) -> None:
    assert load_config(data) == DeviceConfig()


def test_a_configuration_is_read_as_it_was_stored(data: Path, tmp_path: Path) -> None:
    config = DeviceConfig(display_name="Anna's laptop").sharing(folder(tmp_path, "Clients"), data=data)

    save_config(data, config)

    assert load_config(data) == config
    assert stat.S_IMODE((data / FILE_NAME).stat().st_mode) == 0o600


def test_a_folder_is_shared_under_a_name_of_its_own(data: Path, tmp_path: Path) -> None:
    config = DeviceConfig()
    for name in ("one/Kunden Süd", "two/Kunden Süd", "three/…"):
        config = config.sharing(folder(tmp_path, name), data=data)

    assert [root.name for root in config.roots] == ["kunden-sud", "kunden-sud-2", "root"]


def test_sharing_a_folder_twice_changes_nothing(data: Path, tmp_path: Path) -> None:
    shared = folder(tmp_path, "clients")
    (tmp_path / "link").symlink_to(shared)
    config = DeviceConfig().sharing(shared, data=data)

    assert config.sharing(shared, data=data) is config
    assert config.sharing(tmp_path / "link", data=data) is config


def test_the_other_folders_keep_their_names_when_one_is_removed(data: Path, tmp_path: Path) -> None:
    config = DeviceConfig()
    for name in ("one/clients", "two/clients"):
        config = config.sharing(folder(tmp_path, name), data=data)

    left = config.without("clients")

    assert [(root.name, root.path) for root in left.roots] == [("clients-2", tmp_path / "two" / "clients")]
    assert [root.name for root in left.sharing(tmp_path / "one" / "clients", data=data).roots] == [
        "clients-2",
        "clients",
    ]


def test_a_folder_is_removed_by_its_path_too_even_when_it_is_gone(data: Path, tmp_path: Path) -> None:
    shared = folder(tmp_path, "clients")
    config = DeviceConfig().sharing(shared, data=data)
    shared.rmdir()

    assert config.without(str(shared)).roots == ()


def test_what_is_not_shared_cannot_be_removed(data: Path, tmp_path: Path) -> None:
    config = DeviceConfig().sharing(folder(tmp_path, "clients"), data=data)

    with pytest.raises(ConfigFault, match=r"other is not shared\. Shared folders: clients"):
        config.without("other")


def test_a_folder_that_is_not_there_cannot_be_shared(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    for name in ("missing", "file"):
        with pytest.raises(ConfigFault, match="There is no folder"):
            DeviceConfig().sharing(tmp_path / name, data=data)


@pytest.mark.parametrize("path", ["/", "~", "/proc", "~/.."])
def test_what_is_too_much_cannot_be_shared(data: Path, path: str) -> None:
    with pytest.raises(ConfigFault):
        DeviceConfig().sharing(Path(path), data=data)


def test_only_so_many_folders_can_be_shared_as_a_bridge_takes(data: Path, tmp_path: Path) -> None:
    config = DeviceConfig(
        roots=tuple(SharedFolder(name=str(number), path=tmp_path / str(number)) for number in range(MAX_ROOTS))
    )

    with pytest.raises(ConfigFault, match="64 folders"):
        config.sharing(folder(tmp_path, "clients"), data=data)


def test_the_agents_own_directory_cannot_be_shared(data: Path) -> None:
    (data / "device").mkdir()

    for path in (data, data / "device"):
        with pytest.raises(ConfigFault):
            DeviceConfig().sharing(path, data=data)


def test_the_whole_data_directory_stays_closed_where_a_shared_folder_contains_it(data: Path, tmp_path: Path) -> None:
    around = SharedFolder(name="around", path=tmp_path)

    assert guarded_directory(data, ()) == data
    assert guarded_directory(data, [around]) == data


def test_a_folder_inside_the_data_directory_leaves_the_devices_own_part_closed(data: Path) -> None:
    inside = SharedFolder(name="sample", path=folder(data, "sample"))

    assert guarded_directory(data, [inside]) == data / "device"


def test_a_folder_around_the_data_directory_and_one_inside_it_exclude_each_other(data: Path, tmp_path: Path) -> None:
    config = DeviceConfig().sharing(folder(data, "sample"), data=data)

    with pytest.raises(ConfigFault, match="Share only one of them"):
        config.sharing(tmp_path, data=data)


@pytest.mark.parametrize(
    "content",
    [
        "{}",
        '{"version": 2, "display_name": "", "roots": []}',
        '{"version": 1, "display_name": 3, "roots": []}',
        '{"version": 1, "display_name": "", "roots": {}}',
        '{"version": 1, "display_name": "", "roots": [3]}',
        '{"version": 1, "display_name": "", "roots": [{"name": "x"}]}',
        '{"version": 1, "display_name": "", "roots": [{"name": "", "path": "/x"}]}',
    ],
)
def test_a_damaged_configuration_is_named(data: Path, content: str) -> None:
    (data / FILE_NAME).write_text(content)

    with pytest.raises(DamagedFile, match=r"config\.json is damaged"):
        load_config(data)
