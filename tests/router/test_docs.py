"""The pages for a browser need this router and nothing else: what they load is here, and their policy forbids the rest."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import urljoin

import pytest

from router.tenants.door import asks_for
from tests.router.conftest import Running, Start

PAGES = ["/docs", "/redoc"]
KINDS = {"css": "text/css", "js": "text/javascript"}


class Page(HTMLParser):
    """What a page loads, and what of it runs or is styled in place."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.in_place: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        fields = {name: value or "" for name, value in attributes}
        self.loads += [fields[name] for name in ("src", "href", "spec-url") if name in fields]
        self.in_place += [name for name in fields if name.startswith("on")]
        if tag == "script" and "src" not in fields:
            self.in_place.append(tag)


def policy(fields: dict[str, str]) -> dict[str, list[str]]:
    rules = (rule.split() for rule in fields["content-security-policy"].split(";"))
    return {name: sources for name, *sources in rules}


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_loads_what_this_router_has_and_nothing_else(start: Start, path: str) -> None:
    router: Running = await start()
    reply = await router.get(path)
    assert (reply.status, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
    text = reply.body.decode()
    loads = [each for each in Page(text).loads if each != "data:,"]
    assert any(each.endswith(".js") for each in loads)
    assert "//" not in text.replace("<!doctype html>", "")
    for each in loads:
        got = await router.get(urljoin(path, each))
        assert got.status == 200 and len(got.body) == int(got.headers["content-length"]) > 0, each
        assert got.headers["content-type"].partition(";")[0] == KINDS.get(each.rpartition(".")[2], "application/json")


async def test_the_script_asks_this_router_for_the_document(start: Start) -> None:
    router: Running = await start()
    script = (await router.get("/docs/start.js")).body.decode()
    asked = re.search(r'url: "([^"]+)"', script)
    assert asked is not None
    assert (await router.get(urljoin("/docs", asked[1]))).json["openapi"].startswith("3.")
    assert "validatorUrl: null" in script  # else the document's address would be told to swagger.io


async def test_styles_bring_their_pictures_with_them(start: Start) -> None:
    router: Running = await start()
    styles = (await router.get("/docs/swagger-ui.css")).body.decode()
    found = re.findall(r"url\([\"']?(.{5})", styles)
    assert found and set(found) == {"data:"}
    assert "@import" not in styles


@pytest.mark.parametrize("path", PAGES)
async def test_a_browser_is_told_to_load_nothing_from_elsewhere(start: Start, path: str) -> None:
    router: Running = await start()
    reply = await router.get(path)
    rules = policy(reply.headers)
    assert rules["default-src"] == ["'none'"]
    assert rules["script-src"] == rules["connect-src"] == ["'self'"]
    assert {source for sources in rules.values() for source in sources} <= {"'none'", "'self'", "'unsafe-inline'", "data:", "blob:"}
    assert Page(reply.body.decode()).in_place == []  # it would not run


async def test_nothing_else_of_the_folder_is_shown(start: Start) -> None:
    router: Running = await start()
    for path in ("/docs/", "/docs/favicon.png", "/docs/../core.py", "/docs/%2e%2e/core.py"):
        assert (await router.get(path)).status == 404


@pytest.mark.parametrize(
    ("path", "who"), [("/docs", "nobody"), ("/docs/swagger-ui.css", "nobody"), ("/redoc", "nobody"), ("/docsx", "tenant")]
)
def test_pages_and_what_they_load_ask_for_no_key(path: str, who: str) -> None:
    assert asks_for(path) == who
