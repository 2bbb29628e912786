"""`python -m tests.fuzz.one NAME [libFuzzer options] [corpus folders]`: one harness under atheris, until its time is over."""

from __future__ import annotations

import sys

import atheris


def main() -> None:
    name = sys.argv.pop(1)
    with atheris.instrument_imports(include=["router"]):
        from tests.fuzz.harness import HARNESSES  # noqa: PLC0415 - what is imported here is instrumented
    atheris.Setup(sys.argv, HARNESSES[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
