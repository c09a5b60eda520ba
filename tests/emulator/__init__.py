"""An emulator of the mail and chat providers: Google OAuth and Gmail, Microsoft login and Graph, on one port.

It serves the providers' real paths, is as strict about parameters as they are, lives by a virtual clock, and fails on
request. `running.running()` starts it in this process, `python -m tests.emulator` as a process of its own, and
`client.ControlClient` moves it from outside.

How it is put together: `core.Core` holds what both halves share (clock, faults, counters, ids). Each half is a package
with

* `state.py`: `GoogleState(core)` or `MicrosoftState(core)`, found as `emulator.google` and `emulator.microsoft`;
* `app.py`: `routes(emulator) -> list[web.RouteDef]`, the provider's own paths;
* `control.py`: `control_routes(emulator) -> list[web.RouteDef]`, all below `/_emulator/<half>/`.
"""
