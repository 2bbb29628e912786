"""docs/api.md: every path is on it, and every command of it works."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from string import Template
from uuid import uuid4

import pytest
from click.testing import CliRunner
from fastapi.openapi.models import OpenAPI

from fleet.cli import main
from fleet.documents import fill
from fleet.key import digest
from fleet.model import Route, Spec, Tenant
from router import api_page
from router.wire.dialects import RELAY_PATHS
from tests import servers
from tests.router.conftest import SPEC, Running, Start, model, until
from tests.router.upstream import says_hello

PAGE = Path(__file__).parents[2] / "docs/api.md"
KEYS = {"WARMFLEET_KEY": "a-tenants-key", "WARMFLEET_ADMIN_KEY": "an-admin-key"}
BLOCK = re.compile(r"```sh\n(curl .*?)\n```", re.DOTALL)
EXTRA = "extra"  # the model that the page adds


@dataclass(frozen=True)
class Request:
    """A curl command, read."""

    method: str
    path: str
    headers: tuple[str, ...]
    body: str

    def encode(self) -> bytes:
        raw = self.body.encode()
        lines = "".join(f"{line}\r\n" for line in ("host: router", *self.headers, f"content-length: {len(raw)}"))
        return f"{self.method} {self.path} HTTP/1.1\r\n{lines}\r\n".encode() + raw


def parsed(command: str) -> Request:
    """Reads what the page's commands are made of; anything else is an error."""
    words = iter(shlex.split(command.replace("\\\n", " ")))
    method, address, headers, body = "", "", [], ""
    for word in words:
        if word == "-X":
            method = next(words)
        elif word == "-H":
            headers.append(Template(next(words)).substitute(KEYS))
        elif word == "-d":
            body = next(words)
        elif word not in ("curl", "-s"):
            assert (word.partition("/")[0], address) == ("localhost:8000", ""), f"not understood: {word}"
            address = word
    return Request(method or ("POST" if body else "GET"), "/" + address.partition("/")[2], tuple(headers), body)


def commands() -> list[Request]:
    return [parsed(command) for command in BLOCK.findall(PAGE.read_text("utf-8"))]


def described(redis: str, folder: Path) -> Spec:
    """A fleet with the names of the page, a tenant, sessions in Redis and a database."""
    return replace(
        SPEC,
        fleet=replace(SPEC.fleet, name=f"t-{uuid4().hex[:12]}", redis=redis),
        router=replace(SPEC.router, analytics=f"sqlite:///{folder / 'analytics'}"),
        models=(model("small-model"), model("large-model")),
        routes=(Route(selector=0, name="chat", chain=("small-model", "large-model")),),
        tenants=(Tenant(name="one", key_sha256=(digest(KEYS["WARMFLEET_KEY"]),), budget_per="none"),),
    )


@pytest.fixture
async def router(
    start: Start, redis_server: servers.RedisServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AsyncIterator[Running]:
    monkeypatch.setenv("WARMFLEET_ADMIN_KEY", KEYS["WARMFLEET_ADMIN_KEY"])
    engines = [("a", says_hello, "small-model"), ("b", says_hello, "large-model")]
    running: Running = await start(engines=engines, spec=described(redis_server.url, tmp_path))
    yield running


async def test_every_command_of_the_page_works(router: Running) -> None:
    found = commands()
    assert len(found) == len(api_page.calls())
    for request in found:
        reply = await router.call(request.encode())
        assert 200 <= reply.status < 400, (request, reply.body)
        if request.path.endswith("/disable"):
            await until(lambda: "small-model" in router.wired.plane.catalogue._off, 60)


async def test_whom_the_page_says_to_ask_for_a_key_is_refused_without_one(router: Running) -> None:
    for call, request in zip(api_page.calls(), commands(), strict=True):
        without = replace(request, headers=tuple(line for line in request.headers if not line.startswith("authorization")))
        reply = await router.call(without.encode())
        assert reply.status == {"": 200, "tenant": 401, "admin": 403}[call.who], (request, reply.body)
        assert call.who == "" or str(reply.status) in call.operation["responses"]


def test_the_page_is_up_to_date() -> None:
    text = PAGE.read_text("utf-8")
    assert fill(text, api_page.blocks(), where="docs/api.md") == text, "run `warmfleet docs` and commit the result"


def test_every_path_is_described_once_with_a_sentence_and_its_refusals() -> None:
    found = api_page.calls()
    assert {path.decode() for path in RELAY_PATHS} == {call.path for call in found if call.operation["tags"] == ["relay"]}
    assert len({(call.method, call.path) for call in found}) == len(found)
    for call in found:
        assert call.operation["summary"].endswith("."), call.path
        assert "422" not in call.operation["responses"], call.path


async def test_the_router_serves_a_valid_document_with_examples_of_every_body(start: Start) -> None:
    router: Running = await start()
    served = (await router.get("/openapi.json")).json
    checked = OpenAPI.model_validate(served)
    assert checked.paths is not None
    assert {path.decode() for path in RELAY_PATHS} <= checked.paths.keys()
    assert [call.path for call in api_page.calls() if call.body and not call.example] == []
    named = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(served)))
    assert named <= served["components"]["schemas"].keys()
    assert (await router.get("/docs")).status == 200


def test_every_field_has_a_meaning() -> None:
    rows = [line.split(" | ") for line in api_page.sections().splitlines() if line.startswith("| `")]
    assert rows
    assert [row for row in rows if not row[3].rstrip(" |")] == []


def test_documents_say_when_the_page_is_stale_and_mend_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = Path(shutil.copytree(PAGE.parent, tmp_path / "docs")) / PAGE.name
    copy.write_text(PAGE.read_text("utf-8").replace("Start a session", "Begin a session"), "utf-8")
    monkeypatch.chdir(tmp_path)
    stale = CliRunner().invoke(main, ["docs", "--check"])
    assert (stale.exit_code, "docs/api.md" in stale.stderr, "operations.md" in stale.stderr) == (1, True, False)
    assert CliRunner().invoke(main, ["docs"]).exit_code == 0
    assert copy.read_text("utf-8") == PAGE.read_text("utf-8")


@pytest.mark.parametrize(
    ("command", "read"),
    [
        ("curl -s localhost:8000/health", Request("GET", "/health", (), "")),
        ("curl -s -X PUT localhost:8000/a \\\n  -d '{\"b\": \"it'\\''s\"}'", Request("PUT", "/a", (), '{"b": "it\'s"}')),
        (
            'curl -s localhost:8000/a -H "authorization: Bearer $WARMFLEET_KEY"',
            Request("GET", "/a", ("authorization: Bearer a-tenants-key",), ""),
        ),
    ],
)
def test_commands_are_read_as_a_shell_reads_them(command: str, read: Request) -> None:
    assert parsed(command) == read
