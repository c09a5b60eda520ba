"""The figures of the design, each as a ratio to a floor that is measured in the same run: `make bench`.

    python -m tests.benchmarks [--only NAME] [--quick] [--json]

A benchmark is a function from a `Bench` to `Figure`s; `suite` lists them. Nothing here is a test: a target that is
missed is printed, and the exit code stays 0. `test_benchmarks` only sees to it that each of them still runs.
"""
