"""Says in one sentence what is wrong with the Python that `make setup` would use; runs on any Python 3."""

import importlib.util
import sys

running, series = ".".join(map(str, sys.version_info[:3])), ".".join(map(str, sys.version_info[:2]))
if sys.version_info < (3, 11):  # noqa: UP036 - the reason for this file
    sys.exit(f"warmfleet needs Python 3.11 or newer, and {sys.executable} is {running}: try `make setup PYTHON=python3.12`")
missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
if missing:
    sys.exit(f"{sys.executable} has no {' and no '.join(missing)}: install it (Debian, Ubuntu: apt-get install python{series}-venv)")
