"""`make terraform-check`: terraform fmt, validate and test on terraform/, without a registry of providers.

`terraform validate` and `terraform test` with mocked providers need of a provider only its schema. main.go stands in for each one with the
schema in tests/terraform/schemas/, built once into the user's cache and found through a mirror in a folder. Nothing is reached, and
nothing is written into the checkout. What only the real providers know (values, planned changes) is not checked.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from fleet.errors import MissingTool
from fleet.local.tools import cache_folder

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
SCHEMAS = CHECKOUT / "tests/terraform/schemas"
PROVIDERS = {"nomad": "hashicorp/nomad", "consul": "hashicorp/consul", "datadog": "datadog/datadog"}
"""Schema -> address, in lower case as Terraform looks for it in a mirror."""
PLATFORM = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}

_DEFAULT_HOST = ".".join(("registry", "terraform", "io"))  # what Terraform puts before an address without a host


def main() -> int:
    try:
        terraform, stand_in = _terraform(), _stand_in()
    except MissingTool as error:
        print(f"terraform-check: {error}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="warmfleet-terraform-") as name:
        return _check(terraform, stand_in, Path(name))


def _check(terraform: str, stand_in: Path, folder: Path) -> int:
    """The exit code of the first step that fails, else 0."""
    work, environment = _prepare(stand_in, folder)
    for step in (["fmt", "-check", "-diff", "-recursive"], ["init", "-backend=false", "-input=false"], ["validate"], ["test"]):
        print(f"terraform {' '.join(step)}", flush=True)
        quiet = subprocess.DEVNULL if step[0] == "init" else None  # it speaks at length of a lock file that nobody keeps
        code = subprocess.run([terraform, *step], cwd=work, env=environment, stdout=quiet, check=False).returncode  # noqa: S603  our own steps
        if code:
            return code
    return 0


def _prepare(stand_in: Path, folder: Path) -> tuple[Path, dict[str, str]]:
    """A copy of terraform/ and the environment in which only the stand-ins are found. Inputs and keys of the caller do not reach it."""
    work = Path(shutil.copytree(CHECKOUT / "terraform", folder / "terraform", ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*")))
    for schema, address in PROVIDERS.items():
        _mirror(folder / "mirror", stand_in, schema, address)
    settings = folder / "terraform.rc"
    settings.write_text(
        f'disable_checkpoint = true\nprovider_installation {{\n  filesystem_mirror {{\n    path = "{folder}/mirror"\n  }}\n}}\n'
    )
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("TF_", "NOMAD_", "CONSUL_", "DD_"))}
    plain = {} if sys.stdout.isatty() else {"TF_CLI_ARGS": "-no-color"}
    return work, kept | plain | {"TF_CLI_CONFIG_FILE": str(settings), "TF_IN_AUTOMATION": "1"}


def _mirror(mirror: Path, stand_in: Path, schema: str, address: str) -> None:
    version = _version(schema)
    full, system = f"{_DEFAULT_HOST}/{address}", os.uname()
    place = mirror / full / version / f"{system.sysname.lower()}_{PLATFORM[system.machine]}"
    place.mkdir(parents=True)
    program = place / f"terraform-provider-{schema}_v{version}"
    program.write_text(f'#!/bin/sh\nexec "{stand_in}" {full} "{SCHEMAS / schema}.json"\n')
    program.chmod(0o755)


def _version(schema: str) -> str:
    return str(json.loads((SCHEMAS / f"{schema}.json").read_text("utf-8"))["version"])


def _terraform() -> str:
    """Raises: MissingTool."""
    found = shutil.which("terraform")
    if found is None:
        raise MissingTool("there is no terraform on PATH: install Terraform 1.11 or newer")
    return found


def _stand_in() -> Path:
    """Built where this version of it is not in the cache yet: about a minute. Raises: MissingTool."""
    sources = b"".join((HERE / name).read_bytes() for name in ("go.mod", "go.sum", "main.go"))
    built = cache_folder() / f"terraform-stand-in-{hashlib.sha256(sources).hexdigest()[:12]}"
    if not built.exists():
        _build(built)
    return built


def _build(target: Path) -> None:
    go = shutil.which("go")
    if go is None:
        raise MissingTool("there is no Go on PATH to build the stand-in for the providers with: install Go 1.25.8 or newer")
    target.parent.mkdir(parents=True, exist_ok=True)
    print("building the stand-in for the providers, once: about a minute", flush=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="stand-in-") as scratch:
        made = Path(scratch) / "stand-in"
        caches = {"GOMODCACHE": f"{scratch}/mod", "GOCACHE": f"{scratch}/cache"}  # not the user's, and gone afterwards
        argv = [go, "build", "-mod=readonly", "-modcacherw", "-trimpath", "-ldflags", "-s -w", "-o", str(made), "."]
        if subprocess.run(argv, cwd=HERE, env={**os.environ, **caches, "CGO_ENABLED": "0"}, check=False).returncode:  # noqa: S603  fixed arguments
            raise MissingTool("building the stand-in for the providers failed, for the reason above")
        made.replace(target)


if __name__ == "__main__":
    sys.exit(main())
