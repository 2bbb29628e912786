"""Programs are found on PATH, then in the cache, and built where they are in neither; hermetic: PATH and cache are the test's own."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from fleet.errors import MissingTool
from fleet.local import build, tools

MOD = """module warmfleet.dev/tools/{name}

go 1.25.9

require (
\tgithub.com/hashicorp/{name}/api v9.9.9
\tgithub.com/hashicorp/{name} v1.2.3
)
"""

# A Go that answers what the build asks: its version, the packages of a module, and a build that writes its arguments as the program.
GO = """#!/bin/sh
case "$1" in
version) echo "go version go{version} linux/amd64" ;;
list) echo "go: downloading x v1" >&2; printf 'a\\nb\\n' ;;
build)
  {fail}
  while [ "$1" != -o ]; do shift; done
  mkdir -p "$GOMODCACHE/x@v1" && : > "$GOMODCACHE/x@v1/file" && chmod -R a-w "$GOMODCACHE"
  echo "CGO_ENABLED=$CGO_ENABLED" > "$2"; chmod +x "$2" ;;
esac
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "warmfleet" / "tools"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder first on a PATH that has no Nomad, Consul, Redis or Go otherwise."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "mkdir", "chmod"):
        (folder / name).symlink_to(Path("/bin") / name)
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def pins(tmp_path: Path) -> Path:
    for name in ("nomad", "consul"):
        (tmp_path / "pins" / name).mkdir(parents=True)
        (tmp_path / "pins" / name / "go.mod").write_text(MOD.format(name=name))
        (tmp_path / "pins" / name / "go.sum").write_text("sums\n")
    return tmp_path / "pins"


def program(file: Path, text: str = "#!/bin/sh\n") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)
    return file


def test_the_key_is_the_checksum_of_both_files_in_a_row() -> None:
    folder = tools.CHECKOUT / "tools" / "nomad"
    shell = subprocess.run("cat go.mod go.sum | sha256sum", shell=True, cwd=folder, capture_output=True, text=True, check=True)
    assert shell.stdout.startswith(tools.pin("nomad").key)
    assert len(tools.pin("nomad").key) == 12


def test_a_pin_is_read_from_go_mod(pins: Path, cache: Path) -> None:
    pin = tools.pin("nomad", pins)
    key = hashlib.sha256((MOD.format(name="nomad") + "sums\n").encode()).hexdigest()[:12]
    assert (pin.module, pin.version, pin.key) == ("github.com/hashicorp/nomad", "1.2.3", key)
    assert pin.cached == cache / f"nomad-1.2.3-{key}" / "nomad"


def test_a_program_on_path_wins_over_the_cache(path: Path, cache: Path) -> None:
    cached = program(tools.pin("nomad").cached)
    assert tools.find("nomad") == cached
    installed = program(path / "nomad")
    assert tools.find("nomad") == installed


def test_an_unfinished_or_other_version_in_the_cache_is_not_found(path: Path, cache: Path) -> None:
    pin = tools.pin("nomad")
    program(cache / f"nomad-{pin.version}-000000000000" / "nomad")
    program(pin.cached).chmod(0o644)
    assert tools.find("nomad") is None


@pytest.mark.parametrize(
    ("there", "said"), [((), "consul and nomad not found"), (("nomad",), "consul not found"), (("consul",), "nomad not found")]
)
def test_what_is_missing_is_named_with_the_way_to_get_it(path: Path, cache: Path, there: tuple[str, ...], said: str) -> None:
    for name in there:
        program(path / name)
    with pytest.raises(MissingTool, match=f"^{said} .*`make tools`$"):
        tools.require()


@pytest.mark.parametrize("name", ["redis-server", "valkey-server"])
def test_redis_is_taken_from_path_under_either_name(path: Path, name: str) -> None:
    installed = program(path / name)
    assert tools.find_redis() == installed


def test_redis_comes_with_the_wheel_where_it_is_not_installed(path: Path) -> None:
    answer = subprocess.run([tools.find_redis(), "--version"], capture_output=True, text=True, check=True)
    assert "v=" in answer.stdout


def test_a_build_lands_in_the_cache_and_leaves_no_caches_behind(path: Path, cache: Path) -> None:
    program(path / "go", GO.format(version="1.99.0", fail=":"))
    build.build_missing()
    for name in ("nomad", "consul"):
        assert tools.find(name) == tools.pin(name).cached
        assert tools.pin(name).cached.read_text() == "CGO_ENABLED=0\n"
    assert not (cache / "build").exists()


def test_the_example_device_is_a_package_of_nomads_module_and_built_only_when_asked_for(path: Path, cache: Path) -> None:
    nomad, device = tools.pin("nomad"), tools.pin(tools.EXAMPLE_DEVICE)
    assert device.module == f"{nomad.module}/plugins/device/cmd/example/cmd"
    assert (device.version, device.key, device.folder) == (nomad.version, nomad.key, nomad.folder)
    program(path / "nomad")
    program(path / "consul")
    program(path / "go", GO.format(version="1.99.0", fail=":"))
    build.build_missing((*tools.NEEDED, tools.EXAMPLE_DEVICE))
    assert tools.find(tools.EXAMPLE_DEVICE) == device.cached
    assert not nomad.cached.exists()


def test_nothing_is_built_where_everything_is_installed(path: Path, cache: Path) -> None:
    program(path / "nomad")
    program(path / "consul")
    build.build_missing()
    assert not cache.exists()


def test_a_build_that_fails_says_so_in_gos_words_and_keeps_its_downloads(path: Path, cache: Path) -> None:
    program(path / "go", GO.format(version="1.99.0", fail="echo 'no such host' >&2; exit 1"))
    with pytest.raises(MissingTool, match=r"(?s)building consul failed:\nno such host\n.*`make tools` tries again"):
        build.build_missing()
    assert (cache / "build").exists()
    assert tools.find("consul") is None


@pytest.mark.parametrize(("there", "what"), [((), "consul and nomad"), (("consul",), "nomad")])
def test_without_go_one_sentence_says_what_to_install(
    path: Path, cache: Path, capsys: pytest.CaptureFixture[str], there: tuple[str, ...], what: str
) -> None:
    for name in there:
        program(path / name)
    says = rf"^there is no Go on PATH: to build {what}, install Go 1\.\d+\.\d+ or newer \(https://go.dev/dl/\); or install {what}$"
    with pytest.raises(MissingTool, match=says):
        build.build_missing()
    assert capsys.readouterr().out == ""
    assert not cache.exists()


def test_a_go_that_is_too_old_is_refused_before_anything_is_downloaded(path: Path, cache: Path) -> None:
    program(path / "go", GO.format(version="1.9.7", fail=":"))
    with pytest.raises(MissingTool, match=r"too old \(go version go1\.9\.7 .*Go 1\.25"):
        build.build_missing()
    assert not (cache / "build").exists()


@pytest.mark.parametrize(("text", "version"), [("module x\n\ngo 1.25.9\n", (1, 25, 9)), ("go 1.9\n", (1, 9)), ("module x\n", ())])
def test_the_needed_go_is_read_from_go_mod(text: str, version: tuple[int, ...]) -> None:
    assert build.needed_go(text) == version


def test_an_installation_is_no_checkout(tmp_path: Path) -> None:
    tools.require_checkout()
    with pytest.raises(MissingTool, match=rf"{tmp_path} is an installation: clone the repository"):
        tools.require_checkout(tmp_path)
