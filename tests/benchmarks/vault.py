"""The vault: what it takes to encrypt and to decrypt a grant, its key unwrapped first each time; and a rotation.

A grant is 2 KiB, about what a provider's tokens take. The keys are in a file; wrapped keys are in memory.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from connectors.vault.domain import Owner
from connectors.vault.key_file import FileKeys, add_key, create_key_file
from connectors.vault.rotation import rotate
from connectors.vault.vault import Vault
from tests.benchmarks.bench import Bench, Scale, percentile
from tests.benchmarks.figures import Figure, at_most
from tests.fakes.key_store import InMemoryKeyStore

OWNER = Owner("benchmark", "c-1")
FIELD = "grant"
GRANT = bytes(2048)
FLOOR = "the same with the connection's key at hand"
LONGEST_MS = 0.1


@dataclass(frozen=True, slots=True)
class _Sizes:
    times: int
    connections: int
    """Whose keys are rotated."""


_SIZES: Mapping[Scale, _Sizes] = {
    Scale.FULL: _Sizes(20_000, 10_000),
    Scale.QUICK: _Sizes(5_000, 2_000),
    Scale.TINY: _Sizes(5, 5),
}


async def measure(bench: Bench) -> Sequence[Figure]:
    """Measure one grant over and over, then the keys of many connections."""
    sizes = _SIZES[bench.scale]
    path = bench.directory / "keys.json"
    create_key_file(path)
    vault = Vault(FileKeys(path))
    wrapped = await vault.new_key(OWNER)
    key = await vault.open_key(OWNER, wrapped)
    sealed = key.seal(FIELD, 1, GRANT)

    async def encrypt() -> None:
        (await vault.open_key(OWNER, wrapped)).seal(FIELD, 1, GRANT)

    async def decrypt() -> None:
        (await vault.open_key(OWNER, wrapped)).open(FIELD, 1, sealed)

    async def encrypt_only() -> None:
        key.seal(FIELD, 1, GRANT)

    async def decrypt_only() -> None:
        key.open(FIELD, 1, sealed)

    bench.say(f"vault: a grant, {sizes.times} times each")
    figures: list[Figure] = []
    for what, work, floor in (("encrypt", encrypt, encrypt_only), ("decrypt", decrypt, decrypt_only)):
        least = await _timed(floor, sizes.times)
        took = await _timed(work, sizes.times)
        figures += [
            Figure(
                what=f"{what} a grant, median",
                value=median(took),
                unit="ms",
                floor=median(least),
                floor_is=FLOOR,
                target=at_most(LONGEST_MS),
            ),
            Figure(what=f"{what} a grant, 99 % within", value=percentile(took, 99), unit="ms"),
        ]
    bench.say(f"vault: the keys of {sizes.connections} connections")
    store = InMemoryKeyStore()
    for number in range(sizes.connections):
        owner = Owner("benchmark", f"c-{number}")
        await store.put(owner, await vault.new_key(owner))
    add_key(path)
    vault = Vault(FileKeys(path))
    began = time.perf_counter()
    progress = await rotate(store, vault, batch=sizes.connections)
    took_seconds = time.perf_counter() - began
    if progress.rewrapped != sizes.connections or progress.remaining:
        raise RuntimeError("the rotation did not come to its end")
    what = f"keys rewrapped/s, {sizes.connections} connections, stored in memory"
    return [*figures, Figure(what=what, value=sizes.connections / took_seconds, unit="keys/s")]


async def _timed(work: Callable[[], Awaitable[None]], times: int) -> list[float]:
    """Do it so often, one after another, and return how many milliseconds each took."""
    took: list[float] = []
    for _ in range(times):
        began = time.perf_counter()
        await work()
        took.append((time.perf_counter() - began) * 1000)
    return took
