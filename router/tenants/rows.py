"""What routers and Redis tell each other about tenants' limits, and the one script that decides.

    ask       may this request be served? If so, so many tokens and so much money are set aside for it
    settle    it is over: what was set aside is given back, what it used is counted

Law: a script runs alone, so no two routers can both take the last of anything. In any 60 s there are no more requests and tokens than the
limit: they are counted in slots of 5 s, and a slot counts until all of it is 60 s old. A budget is never exceeded by what is spent and set
aside together. A batch that comes twice is done once: Redis keeps the last batch's number and answers for every router. What a dead router
had set aside is given back when somebody needs it; it is dead when that key of it has expired. One row that cannot be done, because
somebody wrote nonsense into a key, leaves the others alone. Money is in nanodollars. No I/O.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

import msgspec

from fleet.names import REDIS_BUDGET_PREFIX, REDIS_LIMITS_PREFIX, REDIS_ROUTER_PREFIX

UNLIMITED: Final = -1


class Ask(NamedTuple):
    """`requests`, `tokens_limit`: a minute, 0: no limit. `budget`: nanodollars or UNLIMITED. `tokens`, `cost`: to be set aside."""

    tenant: str
    period: str
    requests: int
    tokens_limit: int
    tokens: int
    budget: int
    cost: int


class Settle(NamedTuple):
    """`slot`: as the verdict named it; negative: nothing was set aside. `held_*`: what was set aside."""

    tenant: str
    period: str
    slot: int
    held_tokens: int
    tokens: int
    held_cost: int
    cost: int


class Answer(IntEnum):
    GRANTED = 0
    REQUESTS = 1
    TOKENS = 2
    BUDGET = 3
    BROKEN = 4
    """What Redis has of this tenant cannot be read."""


class Verdict(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """`answer`: an Answer. What is left after it; `wait_ms`: until it may be granted, `reset_ms`: until the minute is all free again."""

    answer: int
    slot: int
    requests_left: int
    tokens_left: int
    money_left: int
    wait_ms: int
    reset_ms: int


class Batch(msgspec.Struct, array_like=True):
    """`number`: the next of its router's."""

    number: int
    settles: list[Settle]
    asks: list[Ask]


class Verdicts(msgspec.Struct, array_like=True):
    number: int
    verdicts: list[Verdict]


_decode = msgspec.msgpack.Decoder(Verdicts).decode
pack = msgspec.msgpack.Encoder().encode


def verdicts(packed: bytes) -> list[Verdict]:
    """Raises: msgspec.MsgspecError: no answer of the script."""
    return _decode(packed).verdicts


# ARGV: the router's id, its life in milliseconds, the batch. Answers: [number, verdicts], packed.
SCRIPT: Final = (
    f"local LIMITS, BUDGET, ROUTER = '{REDIS_LIMITS_PREFIX}', '{REDIS_BUDGET_PREFIX}', '{REDIS_ROUTER_PREFIX}'\n"
    + """
local SLOT_MS, SLOTS, LIFE_S, MOST = 5000, 13, 120, 2 ^ 53
local me, life, batch = ARGV[1], ARGV[2], cmsgpack.unpack(ARGV[3])
local number, settles, asks = batch[1], batch[2], batch[3]
local mine = ROUTER .. me
local last = redis.call('GET', mine)
if last and cmsgpack.unpack(last)[1] == number then
  redis.call('PEXPIRE', mine, life)
  return last
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local slot = math.floor(now / SLOT_MS)
local first = slot - SLOTS + 1

local function numbers(key, ...)
  local values = redis.call('HMGET', key, ...)
  for i = 1, #values do
    local value = tonumber(values[i] or 0) or 0
    values[i] = value ~= value and 0 or math.floor(math.max(-MOST, math.min(value, MOST)))
  end
  return unpack(values)
end
local function add(key, field, by)
  if by ~= 0 then redis.call('HSET', key, field, string.format('%.0f', math.min(numbers(key, field) + by, MOST))) end
end

-- Requests and tokens of the last minute, after what is older has been taken out.
local function minute(key)
  local oldest = tonumber(redis.call('HGET', key, 'oldest') or first) or first
  if oldest < first - SLOTS then
    redis.call('DEL', key)
  else
    for old = oldest, first - 1 do
      local n, t = numbers(key, 'n' .. old, 't' .. old)
      add(key, 'n', -n)
      add(key, 't', -t)
      redis.call('HDEL', key, 'n' .. old, 't' .. old)
    end
  end
  redis.call('HSET', key, 'oldest', first)
  redis.call('EXPIRE', key, LIFE_S)
  return numbers(key, 'n', 't')
end

-- Milliseconds until so much of a field (n or t) is free.
local function wait(key, field, wanted)
  local freed = 0
  for old = first, slot do
    freed = freed + numbers(key, field .. old)
    if freed >= wanted then return (old + SLOTS) * SLOT_MS - now end
  end
  return SLOTS * SLOT_MS
end

local function money(key)
  return numbers(key, 'spent', 'held')
end

local function bury(key)
  local all = redis.call('HGETALL', key)
  for i = 1, #all, 2 do
    local router = string.match(all[i], '^held:(.+)$')
    if router and router ~= me and redis.call('EXISTS', ROUTER .. router) == 0 then
      add(key, 'held', -(tonumber(all[i + 1]) or 0))
      redis.call('HDEL', key, all[i])
    end
  end
end

local function settle(tenant, period, at, held_tokens, tokens, held_cost, cost)
  local key = LIMITS .. tenant
  if tokens ~= held_tokens then
    minute(key)
    local by = tokens - held_tokens
    if at < first and by > 0 then at = slot end
    if at >= first then
      add(key, 't' .. at, by)
      add(key, 't', by)
    end
  end
  key = BUDGET .. tenant .. ':' .. period
  add(key, 'spent', cost)
  if held_cost > 0 then
    local back = math.min(held_cost, (numbers(key, 'held:' .. me)))
    add(key, 'held', -back)
    add(key, 'held:' .. me, -back)
  end
end

local function ask(tenant, period, requests, tokens_limit, tokens, budget, cost)
  local limits, purse = LIMITS .. tenant, BUDGET .. tenant .. ':' .. period
  local n, t, left, free = 0, 0, -1, 0
  if requests > 0 or tokens_limit > 0 then n, t = minute(limits) end
  local function no(answer, after)
    return {answer, slot, math.max(requests - n, 0), math.max(tokens_limit - t, 0), left, after, SLOTS * SLOT_MS}
  end
  if budget >= 0 and cost > 0 then
    local spent, held = money(purse)
    if spent + held + cost > budget then
      bury(purse)
      spent, held = money(purse)
    end
    left = budget - spent - held
    if cost > left then return no(3, 0) end
    left = left - cost
  end
  if requests > 0 and n + 1 > requests then return no(1, wait(limits, 'n', n + 1 - requests)) end
  if tokens_limit > 0 and t + tokens > tokens_limit then return no(2, wait(limits, 't', t + tokens - tokens_limit)) end
  if requests > 0 or tokens_limit > 0 then
    n, t = n + 1, t + tokens
    add(limits, 'n', 1)
    add(limits, 'n' .. slot, 1)
    add(limits, 't', tokens)
    add(limits, 't' .. slot, tokens)
  end
  if cost > 0 then
    add(purse, 'held', cost)
    add(purse, 'held:' .. me, cost)
    if period ~= 'life' then redis.call('EXPIRE', purse, 3456000) end
  end
  return no(0, 0)
end

for _, row in ipairs(settles) do pcall(settle, unpack(row)) end
local answers = {}
for i, row in ipairs(asks) do
  local done, answer = pcall(ask, unpack(row))
  answers[i] = done and answer or {4, slot, 0, 0, -1, 0, 0}
end
local packed = cmsgpack.pack({number, answers})
redis.call('SET', mine, packed, 'PX', life)
return packed
"""
)
