"""What the two back ends have in common, and how one is chosen."""

from __future__ import annotations

import errno
import os
import platform

import pytest

from device_bridge.agent.sandbox.opening import KernelOpener, Opener, WalkOpener, Want, choose_opener
from tests.device_bridge.agent.sandbox.stage import Stage


def test_the_kernel_is_asked_where_it_can_answer() -> None:
    release = tuple(int(part) for part in platform.release().split(".")[:2])
    if release < (5, 6):
        pytest.skip("this kernel has no openat2")

    assert isinstance(choose_opener(), KernelOpener)


@pytest.mark.parametrize("want", Want)
def test_what_is_opened_is_not_inherited(stage: Stage, want: Want) -> None:
    descriptor = opened(stage, [], want)

    assert not os.get_inheritable(descriptor)
    os.close(descriptor)


def test_a_file_is_opened_for_reading_only(stage: Stage) -> None:
    stage.write("a.txt")
    descriptor = opened(stage, [b"a.txt"], Want.FILE)

    with pytest.raises(OSError, match="Bad file descriptor"):
        os.write(descriptor, b"x")
    os.close(descriptor)


def test_no_names_are_the_root_itself(stage: Stage) -> None:
    descriptor = opened(stage, [], Want.DIRECTORY)

    assert os.path.samestat(os.fstat(descriptor), stage.root.stat())
    os.close(descriptor)


@pytest.mark.parametrize("back_end", [KernelOpener, WalkOpener])
def test_a_nul_is_never_cut_off(stage: Stage, back_end: type[Opener]) -> None:
    stage.write("a.txt")

    with pytest.raises((OSError, ValueError)):
        back_end().open(stage.roots[0].descriptor, [b"a.txt\0b"], Want.FILE.flags, cross_mounts=False)


def test_a_link_opened_without_reading_leads_to_its_target(stage: Stage) -> None:
    file = stage.write("a.txt")
    stage.link("l", "a.txt")
    descriptor = opened(stage, [b"l"], Want.ANYTHING)

    assert os.path.samestat(os.fstat(descriptor), file.stat())
    os.close(descriptor)


def test_failing_leaves_no_descriptor_open(stage: Stage) -> None:
    stage.write("sub/a.txt")
    stage.link("sub/out", "../../root_evil")
    before = stage.open_descriptors()

    for names, number in (([b"sub", b"out"], errno.EXDEV), ([b"sub", b"missing"], errno.ENOENT)):
        with pytest.raises(OSError, match=rf"^\[Errno {number}\]"):
            opened(stage, names, Want.FILE)

    assert stage.open_descriptors() == before


def opened(stage: Stage, names: list[bytes], want: Want) -> int:
    return stage.opener.open(stage.roots[0].descriptor, names, want.flags, cross_mounts=False)
