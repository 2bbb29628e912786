"""tools/set_up.py: .venv is made once, completed later, and never called installed when it is not. With a real pip, on two tiny wheels."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

SET_UP = Path(__file__).parents[2] / "tools" / "set_up.py"
STAMPS = {"running": ".venv/.running", "everything": ".venv/.installed"}
PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "gamma"
version = "1.0"
"""
BACKEND = """
import zipfile
def build_editable(folder, config_settings=None, metadata_directory=None):
    name = "gamma-1.0-py3-none-any.whl"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        wheel.writestr("gamma.py", "")
        wheel.writestr("gamma-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: gamma\\nVersion: 1.0\\n")
        wheel.writestr("gamma-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("gamma-1.0.dist-info/RECORD", "")
    return name
"""


class Checkout:
    """A folder with locks, wheels and a project, and what `set_up.py` makes of it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def start(self, part: str, **more: str) -> subprocess.Popen[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))}
        environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.root / "wheels"), "PIP_CONFIG_FILE": os.devnull, **more}
        command = ["env", "--default-signal=INT", sys.executable, str(SET_UP), part]  # in the background, tests have it ignored
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, cwd=self.root, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True, close_fds=True
        )

    def run(self, part: str, **more: str) -> tuple[int, str, str]:
        """Exit code, standard output, standard error."""
        started = self.start(part, **more)
        said, complained = started.communicate()
        return started.returncode, said, complained

    def has(self, module: str) -> bool:
        command = [str(self.root / ".venv/bin/python"), "-c", f"import {module}"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def is_stamped(self, part: str) -> bool:
        return (self.root / STAMPS[part]).exists()

    def site(self) -> Path:
        (site,) = self.root.glob(".venv/lib/*/site-packages")
        return site

    def lock(self, file: str, *names: str) -> None:
        lines = [f"{name}==1.0 \\\n    --hash=sha256:{self._wheel(name)}\n" for name in names]
        (self.root / file).write_text("".join(lines), "utf-8")

    def _wheel(self, name: str) -> str:
        about, file = f"{name}-1.0.dist-info", self.root / "wheels" / f"{name}-1.0-py3-none-any.whl"
        file.parent.mkdir(exist_ok=True)
        if not file.exists():
            with zipfile.ZipFile(file, "w") as wheel:
                wheel.writestr(f"{name}.py", "")
                wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
                wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
                wheel.writestr(f"{about}/RECORD", "")
        return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkout, list[tuple[int, str]]]:
    """A fresh checkout in which two targets of make were started at the same time; with how they ended and what they said."""
    checkout = Checkout(tmp_path_factory.mktemp("fresh"))
    (checkout.root / "pyproject.toml").write_text(PROJECT, "utf-8")
    (checkout.root / "backend.py").write_text(BACKEND, "utf-8")
    for package in ("fleet", "router", "autoscaler"):
        (checkout.root / package).mkdir()
        (checkout.root / package / "__init__.py").touch()
    checkout.lock("requirements-run.lock", "alpha")
    checkout.lock("requirements.lock", "alpha", "beta")
    both = [checkout.start("running"), checkout.start("running")]
    return checkout, [(one.communicate()[0], one.returncode)[::-1] for one in both]


@pytest.fixture
def checkout(made: tuple[Checkout, object], tmp_path: Path) -> Checkout:
    """One of the test's own, where the running part is installed."""
    return Checkout(Path(shutil.copytree(made[0].root, tmp_path / "checkout", symlinks=True)))


def test_two_that_start_together_set_up_once(made: tuple[Checkout, list[tuple[int, str]]]) -> None:
    checkout, ends = made
    assert [code for code, _ in ends] == [0, 0]
    assert sum(said.count("setting up .venv") for _, said in ends) == 1
    assert checkout.is_stamped("running") and checkout.has("alpha") and checkout.has("gamma")
    assert not checkout.is_stamped("everything") and not checkout.has("beta")


def test_the_rest_completes_what_is_there_and_is_not_done_again(checkout: Checkout) -> None:
    (checkout.root / STAMPS["everything"]).touch()  # as it was before stamps had digests: not believed
    shutil.rmtree(checkout.root / "fleet" / "__pycache__")
    code, said, complained = checkout.run("everything", PYTHONDONTWRITEBYTECODE="1")
    assert (code, complained) == (0, "")
    assert "completing .venv" in said
    assert checkout.has("alpha") and checkout.has("beta")
    assert list(checkout.site().glob("__pycache__/beta.*.pyc"))
    assert not (checkout.root / "fleet" / "__pycache__").exists()  # whoever forbids it gets none beside the sources
    assert checkout.run("everything") == (0, "", "")


def test_what_pip_began_and_did_not_finish_is_installed_again(checkout: Checkout) -> None:
    (checkout.root / STAMPS["running"]).unlink()
    (checkout.site() / "alpha.py").unlink()
    (checkout.site() / "alpha-1.0.dist-info" / "INSTALLER").unlink()
    assert checkout.run("running")[0] == 0
    assert checkout.has("alpha")


def test_a_failed_installation_says_so_and_is_tried_again(checkout: Checkout) -> None:
    lock = checkout.root / "requirements.lock"
    before = lock.read_text("utf-8")
    lock.write_text(before.replace("beta==1.0", "beta==2.0"), "utf-8")
    code, _, complained = checkout.run("everything")
    assert code == 1
    assert "beta==2.0" in complained and ".venv is not complete" in complained
    assert not checkout.is_stamped("everything")
    lock.write_text(before, "utf-8")
    assert checkout.run("everything")[0] == 0


def test_a_file_that_cannot_be_used_is_named_in_one_line(checkout: Checkout) -> None:
    stamp = checkout.root / STAMPS["running"]
    stamp.unlink()
    stamp.mkdir()
    said = f"{STAMPS['running']}: Is a directory: .venv is not complete. Is this checkout another user's?\n"
    assert checkout.run("running") == (1, "", said)


def test_an_interruption_leaves_no_stamp(checkout: Checkout) -> None:
    started = checkout.start("everything")
    assert started.stdout is not None
    assert "completing" in started.stdout.readline()
    os.killpg(started.pid, signal.SIGINT)
    _, complained = started.communicate()
    assert started.returncode != 0
    assert ".venv is not complete" in complained
    assert not checkout.is_stamped("everything")
    assert checkout.run("everything")[0] == 0
    assert checkout.has("beta")


def test_a_python_that_has_gone_is_replaced(checkout: Checkout) -> None:
    (checkout.root / STAMPS["running"]).unlink()
    for python in checkout.root.glob(".venv/bin/python*"):
        python.unlink()
    assert checkout.run("running")[0] == 0
    assert checkout.has("alpha")
