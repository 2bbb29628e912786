"""`python -m tests.fuzz --seconds 60`: all harnesses under atheris, which looks for inputs by the coverage of the router's code.

Each harness runs in a process of its own for its share of the time, from the committed corpus. An input that breaks a law is left in a
file that is named at the end; the exit code is then 1. What is found along the way is not kept: add what is worth it to the corpus.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import click

CORPUS = Path(__file__).parent / "corpus"
_LARGEST = 8192
_SLOWEST_S = 10
_MEMORY_MB = 2048


@click.command(help="Fuzz the router's readers. Exit code 1: an input that breaks a law; its file is named.")
@click.option("--seconds", default=60, help="for all harnesses together")
@click.option("--only", default="", help="one harness")
def main(seconds: int, only: str) -> None:
    names = [only] if only else sorted(path.name for path in CORPUS.iterdir() if path.is_dir())
    broken = [name for name in names if not _run(name, max(1, seconds // len(names)))]
    if broken:
        sys.exit(f"laws are broken in: {', '.join(broken)}")


def _run(name: str, seconds: int) -> bool:
    found = tempfile.mkdtemp(prefix=f"fuzz-{name}-")
    options = [f"-max_total_time={seconds}", f"-max_len={_LARGEST}", f"-timeout={_SLOWEST_S}", f"-rss_limit_mb={_MEMORY_MB}"]
    options += [f"-artifact_prefix={found}/", "-print_final_stats=1", "-verbosity=0"]
    ran = subprocess.run([sys.executable, "-m", "tests.fuzz.one", name, *options, found, str(CORPUS / name)], check=False)
    sys.stderr.write(f"{name}: {'every law held' if ran.returncode == 0 else f'BROKEN, see the input in {found}'}\n")
    return ran.returncode == 0


if __name__ == "__main__":
    main()
