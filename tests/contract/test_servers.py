"""The servers that the other contract tests stand on."""

from __future__ import annotations

import pytest
import redis

from fleet.consul import Consul
from fleet.nomad import Nomad
from tests import servers

pytestmark = pytest.mark.contract


async def test_nomad_is_ready_and_registers_with_the_consul_of_the_run(nomad_server: servers.NomadServer) -> None:
    assert Nomad(nomad_server.address).ready_nodes() == 1
    consul = Consul(nomad_server.consul)
    try:
        assert (await consul.instances("nomad-client")).value
    finally:
        await consul.close()


def test_redis_comes_back_on_the_same_url(redis_server: servers.RedisServer) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        assert client.ping()
        redis_server.stop()
        with pytest.raises(redis.ConnectionError):
            client.ping()
        redis_server.start()
        assert client.ping()
