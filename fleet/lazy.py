"""A command by where it is and what it does, so that a list of commands, such as `warmfleet --help`, imports none of them.

Packages give theirs through the entry points `warmfleet.commands`, as a Lazy in a module that imports nothing heavy.
"""

from __future__ import annotations

import gc
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Never

import click

from fleet.errors import WarmfleetError


@dataclass(frozen=True, slots=True)
class Lazy:
    """`target`: `module:attribute`. `sentence`: the first one of what the command says of itself; a test holds the two together."""

    target: str
    sentence: str

    def command(self, name: str) -> click.Command:
        """Itself; where a package that it needs is not installed, one that says so when it is called."""
        module, attribute = self.target.split(":")
        try:
            with _undisturbed():
                command: click.Command = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            return _absent(name, self.sentence, error)
        return command


@contextmanager
def _undisturbed() -> Iterator[None]:
    """What is imported stays: to look for garbage in it would be a fifth of the import."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _absent(name: str, sentence: str, error: ModuleNotFoundError) -> click.Command:
    def say() -> Never:
        advice = "install warmfleet with its extras; in a checkout, `make setup` does"
        raise WarmfleetError(f"`warmfleet {name}` needs the Python package {error.name}: {advice}") from error

    anything = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
    return click.Command(name, callback=say, context_settings=anything, short_help=sentence)
