"""Keys of providers that change while a router runs: Nomad's file is read anew, and what needs a key is there as soon as the key is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.model import Provider, Route
from fleet.names import PROVIDER_KEYS_FILE
from router.providers.keys import Keys
from tests.router.client import chat
from tests.router.conftest import SPEC, Far, Running, Start, until
from tests.router.upstream import says_hello

NAME = "FAR_API_KEY"


def write(folder: Path, **keys: str) -> Path:
    """As Nomad writes: another file takes the place."""
    new, file = folder / "new", folder / PROVIDER_KEYS_FILE
    new.write_text("\n\n".join(f"{name}={json.dumps(value)}" for name, value in keys.items()), "utf-8")
    return new.replace(file)


def test_what_the_file_holds_goes_before_the_environment(tmp_path: Path) -> None:
    keys = Keys({NAME: "old", "HOME": "/"}, tmp_path / PROVIDER_KEYS_FILE)
    assert (dict(keys), keys.look()) == ({NAME: "old", "HOME": "/"}, False)
    write(tmp_path, **{NAME: 'new "one" #$', "OTHER_API_KEY": "2", "WARMFLEET_ADMIN_KEY": "no"})
    assert (keys.look(), keys.look()) == (True, False)
    assert dict(keys) == {NAME: 'new "one" #$', "OTHER_API_KEY": "2", "HOME": "/"}
    assert len(keys) == 3
    write(tmp_path)
    assert keys.look()
    assert dict(keys) == {NAME: "old", "HOME": "/"}
    assert "old" not in repr(keys)


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: f"{NAME}={text}\n".encode()))
def test_a_file_of_any_kind_is_read_or_left(tmp_path_factory: pytest.TempPathFactory, written: bytes) -> None:
    file = tmp_path_factory.mktemp("keys") / PROVIDER_KEYS_FILE
    file.write_bytes(written)
    assert all(isinstance(value, str) for value in dict(Keys({}, file)).values())


async def test_a_provider_is_used_as_soon_as_its_key_is_there_and_with_the_newest(
    start: Start, far: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOMAD_SECRETS_DIR", str(tmp_path))
    server = await far(says_hello)
    lab = Provider(name="lab", model="m", base_url=f"http://127.0.0.1:{server.port}/v1", key_env=NAME)
    router: Running = await start(spec=replace(SPEC, providers=(lab,), routes=(Route(selector=0, name="best", chain=("lab",)),)))
    assert (await router.call(chat("best"))).status == 503
    write(tmp_path, **{NAME: "first"})
    await until(_uses(router, b"first"), 60)
    assert (await router.call(chat("best"))).status == 200
    write(tmp_path, **{NAME: "second"})
    await until(_uses(router, b"second"), 60)
    assert (await router.call(chat("best"))).status == 200
    assert [heard.header("authorization") for heard in server.heard] == ["Bearer first", "Bearer second"]
    write(tmp_path)
    await until(lambda: "lab" not in router.wired.plane.providers, 60)


def _uses(router: Running, key: bytes) -> Callable[[], bool]:
    def uses() -> bool:
        lab = router.wired.plane.providers.get("lab")
        return lab is not None and lab.remote is not None and lab.remote.remote.key == key

    return uses
