"""Scraping real sockets that are slow, large, wrong or gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from aiohttp import web

from autoscaler.history import Failed, Scrape
from autoscaler.scrape import Scraper, Target, open_session
from autoscaler.text import ENGINE_LOAD, ENGINE_QUEUE, ENGINE_RUNNING, engine_values

GOOD = "llamacpp:requests_processing 2\nllamacpp:requests_deferred 1\n"
VALUES = {(ENGINE_LOAD, "m"): 3.0, (ENGINE_RUNNING, "m"): 2.0, (ENGINE_QUEUE, "m"): 1.0}


async def _endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    try:
        while True:
            await response.write(b"# filler\n" * 1000)
    except ConnectionError:
        return response


async def _good(request: web.Request) -> web.Response:
    return web.Response(text=GOOD)


async def _moved(request: web.Request) -> web.Response:
    return web.Response(status=302, headers={"location": "/good"})


async def _binary(request: web.Request) -> web.Response:
    return web.Response(body=b"\xff\xfe\x00")


async def _never(request: web.Request) -> web.Response:
    await asyncio.Event().wait()
    return web.Response()


@pytest.fixture
async def address() -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/good", _good)
    app.router.add_get("/moved", _moved)
    app.router.add_get("/endless", _endless)
    app.router.add_get("/never", _never)
    app.router.add_get("/binary", _binary)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=512)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
async def scraper() -> AsyncIterator[Scraper]:
    async with open_session() as session:
        yield Scraper(session, 1.0, lambda: 42.0, most_bytes=100_000)


def target(url: str) -> Target:
    return Target(url.rpartition("/")[2], url, lambda text: engine_values(text, "llamacpp", "m"))


async def test_each_target_answers_for_itself(address: str, scraper: Scraper) -> None:
    paths = ("good", "moved", "endless", "never", "binary")
    answers = await scraper.scrape([*(target(f"{address}/{path}") for path in paths), target("http://127.0.0.1:9/gone")])
    assert answers[0] == Scrape("good", 42.0, VALUES)
    reasons = {answer.target: answer.why for answer in answers if isinstance(answer, Failed)}
    assert set(reasons) == {"moved", "endless", "never", "binary", "gone"}
    assert "says 302" in reasons["moved"]
    assert "larger than 100000 bytes" in reasons["endless"]
    assert reasons["never"] == "did not answer within 1 s"
    assert reasons["binary"].startswith("does not answer: ")
    assert "127.0.0.1:9" in reasons["gone"]


async def test_many_silent_targets_do_not_hide_the_one_that_answers(address: str, scraper: Scraper) -> None:
    """150: more than the 100 connections that the client would allow by itself, so that the last one would wait in vain."""
    patient = replace(scraper, timeout_s=8.0)  # 151 connections take a while on a busy machine; the silent ones stay silent
    answers = await patient.scrape([*[target(f"{address}/never")] * 150, target(f"{address}/good")])
    assert {answer.target for answer in answers if isinstance(answer, Failed)} == {"never"}
    assert answers[-1] == Scrape("good", 42.0, VALUES)
