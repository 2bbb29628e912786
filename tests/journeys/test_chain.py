"""The whole chain on real parts: Nomad, Consul, Redis, llama.cpp engines, router and autoscaler, started as `make up` starts them.

The tests share one running system and leave it as they found it: small-model at one replica, everything passing.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import signal
import subprocess
import sys
import time

import aiohttp
import openai
import pytest

from tests.journeys.fleet import Fleet, kill, until
from tests.journeys.load import Load

pytestmark = pytest.mark.journey


def test_the_openai_client_gets_an_answer_and_a_stream(fleet: Fleet) -> None:
    client = openai.OpenAI(base_url=f"{fleet.router}/v1", api_key="none", max_retries=0)
    question = [{"role": "user", "content": "What is the capital of France?"}]
    answer = client.chat.completions.create(model="small-model", messages=question, max_tokens=16)
    assert answer.choices[0].message.content
    assert answer.usage is not None and answer.usage.completion_tokens > 0
    with client.chat.completions.create(model="large-model", messages=question, max_tokens=16, stream=True) as stream:
        chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert {m.id for m in client.models.list()} >= {"small-model", "large-model"}
    client.close()


def call(fleet: Fleet, *words: str) -> subprocess.CompletedProcess[str]:
    """`warmfleet WORDS`, as a person calls it."""
    argv = [sys.executable, "-c", "from fleet.cli import main; main()", *words, "--state", str(fleet.state)]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)


def test_up_again_says_so_and_changes_nothing(fleet: Fleet) -> None:
    seen = lambda: (fleet.state.stat().st_mtime_ns, {part: fleet.live_allocations(part) for part in fleet.record.parts})  # noqa: E731
    before = seen()
    said = call(fleet, "up")
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout.splitlines()[:2] == ["already up", f"  router      {fleet.router}"]
    assert seen() == before


def test_status_gives_addresses_and_jobs_with_their_replicas_by_state(fleet: Fleet) -> None:
    said = call(fleet, "status", "--json")
    document = json.loads(said.stdout)
    assert (said.returncode, document["state"], document["problems"]) == (0, "up", [])
    assert document["router"]["url"] == fleet.router
    assert {name: document[name]["url"] for name in ("nomad", "consul")} == {a.name: a.address for a in fleet.record.agents}
    assert set(document["jobs"]) == set(fleet.record.parts)
    assert document["jobs"]["small-model"].items() >= {"status": "running", "desired": 1, "running": 1, "passing": 1, "failed": 0}.items()
    assert fleet.router in call(fleet, "status").stdout


async def test_a_session_of_the_seed_api_keeps_its_model(fleet: Fleet, http: aiohttp.ClientSession) -> None:
    opened = await fleet.post(http, "/initiate_call", {"selector": 1})
    assert opened["session_id"][-1] == "1"
    said = [
        await fleet.post(http, "/chat_completions", {"session_id": opened["session_id"], "message": "Hello", "max_tokens": 8})
        for _ in range(2)
    ]
    assert {s["model"] for s in said} == {opened["model"]}
    assert all(s["response"] for s in said)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/chat/completions", b"{", 400),
        ("/v1/chat/completions", b"[]", 400),
        ("/v1/chat/completions", b'{"messages": []}', 400),
        ("/v1/chat/completions", b'{"model": "nobody", "messages": []}', 404),
        ("/v1/chat/completions", b'{"model": "small-model", "messages": "x"}', 400),
        ("/v1/chat/completions", b'{"model": "small-model", "x": "' + b"x" * (17 << 20) + b'"}', 413),
        ("/initiate_call", b'{"selector": 16}', 400),
        ("/initiate_call", b'{"selector": "a"}', 400),
        ("/initiate_call", b"nonsense", 400),
        ("/chat_completions", b'{"session_id": "never-seen", "message": "Hello"}', 404),
        ("/no/such/path", b"{}", 404),
    ],
)
async def test_bad_input_is_refused_in_the_openai_shape(
    fleet: Fleet, http: aiohttp.ClientSession, path: str, body: bytes, status: int
) -> None:
    async with http.post(fleet.router + path, data=io.BytesIO(body), headers={"content-type": "application/json"}) as answer:
        error = (await answer.json())["error"]
    assert answer.status == status
    assert set(error) >= {"message", "type", "code"} and error["message"]  # llama.cpp, whose refusals pass unchanged, knows no "param"


async def test_load_adds_a_replica_a_killed_engine_fails_nobody_and_calm_takes_it_away(fleet: Fleet) -> None:
    assert fleet.desired("small-model") == 1
    async with Load(fleet.router, model="small-model", callers=5) as load:
        await until(lambda: fleet.desired("small-model") == 2, "the autoscaler asks for a second replica")
        await until(lambda: fleet.ready("small-model") == 2, "Consul reports both passing")
        await until(lambda: len([r for r in load.done if r.startswith("small-model/")]) >= 2, "the router uses the new replica")
        victim = fleet.engine_pids("small-model")[0]
        kill(victim, signal.SIGKILL)
        before = load.total
        await until(lambda: load.total >= before + 20, "requests go on after the kill")
        await until(lambda: fleet.ready("small-model") == 2, "Nomad brings the engine back")
    assert load.failures == []
    async with Load(fleet.router, model="small-model", callers=1, pause_s=0.3) as calm:
        await until(lambda: fleet.desired("small-model") == 1, "the autoscaler takes the second replica away")
        await until(lambda: fleet.ready("small-model") == 1, "and it is gone from Consul")
        before = calm.total
        await until(lambda: calm.total >= before + 3, "requests go on")
    assert calm.failures == []


async def test_a_kill_of_every_replica_falls_back_to_the_next_model(fleet: Fleet) -> None:
    async with Load(fleet.router, model="small-model", callers=2, pause_s=0.1) as load:
        await until(lambda: load.total >= 4, "requests are answered")
        victims = fleet.engine_pids("small-model")
        for victim in victims:
            kill(victim, signal.SIGKILL)
        await until(lambda: any(r.startswith("large-model/") for r in load.done), "the next model of the chain answers")
        await until(lambda: bool(set(fleet.engine_pids("small-model")) - set(victims)), "Nomad starts a new engine")
        await until(lambda: fleet.ready("small-model") >= 1, "and it passes")
    assert load.failures == []


async def test_without_consul_the_router_keeps_serving(fleet: Fleet, http: aiohttp.ClientSession) -> None:
    pid = fleet.agent_pid("consul")
    kill(pid, signal.SIGSTOP)
    try:
        async with Load(fleet.router, model="large-model", callers=1, pause_s=0.2) as load:
            lost_at = time.monotonic()
            await until(lambda: time.monotonic() - lost_at > 20 and load.total > 0, "20 seconds pass")
            health = await fleet.get(http, "/health")
    finally:
        kill(pid, signal.SIGCONT)
    assert load.failures == []
    assert health["status"] in ("ok", "degraded")
    await until(lambda: fleet.ready("large-model") == 1, "Consul is back")


async def unswapped_sessions(fleet: Fleet, http: aiohttp.ClientSession) -> list[str]:
    """Ids of ours and of a caller's own, all with their route's first model: what began while a level was high has another for a while."""
    async with asyncio.timeout(120):
        for attempt in itertools.count():
            for model in ("small-model", "large-model"):
                await until(lambda model=model: fleet.level(model) == "low", f"the level of {model} is low")  # type: ignore[misc]
            ours = [(await fleet.post(http, "/initiate_call", {"selector": n % 2}))["session_id"] for n in range(4)]
            named = [f"caller-{attempt}-{n}" for n in range(4)]
            for n, session in enumerate(named):
                await fleet.chat(http, "small-model" if n % 2 else "large-model", session=session)
            if not any([(await fleet.get(http, f"/sessions/{session}"))["swapped"] for session in (*ours, *named)]):
                break
    return [*ours, *named]


async def test_sessions_keep_their_model_without_redis_and_through_a_restart_of_the_router(
    fleet: Fleet, http: aiohttp.ClientSession
) -> None:
    async def models() -> list[str]:
        return [(await fleet.chat(http, "auto", session=session)).model for session in sessions]

    sessions = await unswapped_sessions(fleet, http)
    before = await models()
    assert set(before) == {"small-model", "large-model"}
    old = fleet.live_allocations("router")
    fleet.stop_allocation("router")
    await until(lambda: bool(fleet.live_allocations("router")) and not fleet.live_allocations("router") & old, "Nomad starts a new router")
    await until(fleet.router_answers, "the new router answers")
    assert await models() == before, "from Redis, after a restart of the router"
    kill(fleet.redis_pid(), signal.SIGKILL)
    assert await models() == before, "from the local cache, without Redis"
    await until(lambda: fleet.passing("redis") == 1, "Nomad brings Redis back")
    assert await models() == before, "from the local cache, with an empty Redis"
