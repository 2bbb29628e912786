"""The one script that decides about tenants' limits, for all routers.

    sync    takes over what a worker says: what it gives back, holds, has spent
    ask     grants or refuses one request
    lend    gives a worker a slice ahead of need, out of what is left after all of these

Law: a script runs alone, so no two routers can both take the last of anything. In any 60 s there are no more requests and tokens than the
limit: they are counted in slots of 5 s, and a slot counts until all of it is 60 s old. A budget is never exceeded by what is spent and set
aside together. A batch that comes twice is done once: Redis keeps the last batch's number and answers for every router. What a dead
router had set aside counts as spent, because nobody knows what became of it; it is dead when that key of it has expired, and if it comes
back, that is undone. At most an eighth of what is left is lent at once, and nothing where that is less than a usual request, or where
somebody was just refused for what others have: then they are told to give it back. One row that cannot be done, because somebody
wrote nonsense into a key, leaves the others alone. Money is in nanodollars.
"""

from __future__ import annotations

from typing import Final

from fleet.names import REDIS_BUDGET_PREFIX, REDIS_LIMITS_PREFIX, REDIS_ROUTER_PREFIX
from router.lending.rows import SLOT_MS, SLOTS

# ARGV: the router's id, its life in milliseconds, the batch. Answers: [number, verdicts, lents], packed.
SCRIPT: Final = (
    f"local LIMITS, BUDGET, ROUTER = '{REDIS_LIMITS_PREFIX}', '{REDIS_BUDGET_PREFIX}', '{REDIS_ROUTER_PREFIX}'\n"
    f"local SLOT_MS, SLOTS = {SLOT_MS}, {SLOTS}\n"
    + """
local LIFE_S, DEAD_S, MOST, SHARE, AHEAD_MS, RECALL_MS, BURY_MS = 120, 86400, 2 ^ 53, 8, 1000, 1000, 10000
local me, life, batch = ARGV[1], ARGV[2], cmsgpack.unpack(ARGV[3])
local number, syncs, asks = batch[1], batch[2], batch[3]
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
local function set(key, field, value)
  if value == 0 then redis.call('HDEL', key, field) else redis.call('HSET', key, field, string.format('%.0f', value)) end
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

local function count(key, field, at, by)
  if by ~= 0 then
    add(key, field .. at, by)
    add(key, field, by)
  end
end
-- No more than is there: after a loss of memory others' counts stay.
local function uncount(key, field, at, by)
  if by > 0 and at >= first then count(key, field, at, -math.max(0, math.min(by, (numbers(key, field .. at))))) end
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

-- Moves what the dead hold to what is spent.
local function bury(key)
  local all = redis.call('HGETALL', key)
  for i = 1, #all, 2 do
    local router = string.match(all[i], '^held:(.+)$')
    if router and router ~= me and redis.call('EXISTS', ROUTER .. router) == 0 then
      local held, lent = numbers(key, all[i], 'lent:' .. router)
      add(key, 'held', -held)
      add(key, 'lent', -lent)
      add(key, 'spent', held)
      redis.call('SET', key .. ':' .. router, string.format('%.0f', held), 'EX', DEAD_S)
      redis.call('HDEL', key, all[i], 'lent:' .. router)
    end
  end
  set(key, 'buried', now)
end

local function outlive(key, period)
  if period ~= 'life' then redis.call('EXPIRE', key, 3456000) end
end

local function sync_minute(key, at, back_n, back_t, corrections)
  if back_n == 0 and back_t == 0 and #corrections == 0 then return end
  minute(key)
  uncount(key, 'n', at, back_n)
  uncount(key, 't', at, back_t)
  for _, row in ipairs(corrections) do
    if row[2] > 0 then count(key, 't', row[1] < first and slot or row[1], row[2]) else uncount(key, 't', row[1], -row[2]) end
  end
end

local function sync_purse(key, period, kept, holding, spent)
  local held, lent, buried, before = numbers(key, 'held:' .. me, 'lent:' .. me, 'buried', 'spent')
  local dead = held == 0 and redis.call('GETDEL', key .. ':' .. me)
  if dead then add(key, 'spent', -math.max(0, math.min(tonumber(dead) or 0, before))) end
  add(key, 'spent', spent)
  add(key, 'held', holding - held)
  add(key, 'lent', kept - lent)
  set(key, 'held:' .. me, holding)
  set(key, 'lent:' .. me, kept)
  if now - buried > BURY_MS then bury(key) end
  outlive(key, period)
end

local function sync(row)
  local tenant, period = row[1], row[2]
  sync_minute(LIMITS .. tenant, row[6], row[7], row[8], row[9])
  if row[5] >= 0 or row[13] > 0 or row[14] > 0 then
    sync_purse(BUDGET .. tenant .. ':' .. period, period, row[12], row[13], row[14])
  end
end

local function ask(tenant, period, requests, tokens_limit, tokens, budget, cost)
  local limits, purse = LIMITS .. tenant, BUDGET .. tenant .. ':' .. period
  local n, t, left = 0, 0, -1
  if requests > 0 or tokens_limit > 0 then n, t = minute(limits) end
  local function no(answer, after)
    return {answer, slot, math.max(requests - n, 0), math.max(tokens_limit - t, 0), left, after, SLOTS * SLOT_MS}
  end
  if budget >= 0 and cost > 0 then
    local spent, held = numbers(purse, 'spent', 'held')
    left = budget - spent - held
    if cost > left then
      bury(purse)
      local lent, own = numbers(purse, 'lent', 'lent:' .. me)
      if cost <= left + lent - own then
        set(purse, 'recall', now)
        return no(5, RECALL_MS)
      end
      return no(3, 0)
    end
    left = left - cost
  end
  if requests > 0 and n + 1 > requests then return no(1, wait(limits, 'n', n + 1 - requests)) end
  if tokens_limit > 0 and t + tokens > tokens_limit then return no(2, wait(limits, 't', t + tokens - tokens_limit)) end
  local after = 0
  if requests > 0 or tokens_limit > 0 then
    n, t = n + 1, t + tokens
    count(limits, 'n', slot, 1)
    count(limits, 't', slot, tokens)
    if requests > 0 and n >= requests then after = wait(limits, 'n', n + 1 - requests) end
    if tokens_limit > 0 and t >= tokens_limit then after = math.max(after, wait(limits, 't', t + 1 - tokens_limit)) end
  end
  if cost > 0 then
    add(purse, 'held', cost)
    add(purse, 'held:' .. me, cost)
    outlive(purse, period)
  end
  return no(0, after)
end

local function lend(row)
  local tenant, period, requests, tokens_limit, budget, at = unpack(row, 1, 6)
  local kept_n, kept_t, more_n, more_t, more_m, usual_t, usual_m = row[10], row[11], row[15], row[16], row[17], row[18], row[19]
  local limits, purse = LIMITS .. tenant, BUDGET .. tenant .. ':' .. period
  local target = slot
  if (slot + 1) * SLOT_MS - now < AHEAD_MS then target = slot + 1 end
  local n_left, t_left, m_left, kept, tight = 0, 0, -1, true, false
  if requests > 0 or tokens_limit > 0 then
    local n, t = minute(limits)
    n_left, t_left, kept = requests - n, tokens_limit - t, at >= first
    if kept and at ~= target then
      uncount(limits, 'n', at, kept_n)
      uncount(limits, 't', at, kept_t)
      count(limits, 'n', target, kept_n)
      count(limits, 't', target, kept_t)
    end
    tight = requests > 0 and n_left < SHARE or tokens_limit > 0 and t_left < SHARE * math.max(1, usual_t)
  end
  if budget >= 0 then
    local spent, held, recall = numbers(purse, 'spent', 'held', 'recall')
    m_left = budget - spent - held
    tight = tight or m_left < SHARE * math.max(1, usual_m) or now - recall < RECALL_MS
  end
  if tight then more_n, more_t, more_m = 0, 0, 0 end
  local function share(limited, more, left)
    return limited and math.max(0, math.min(more, math.floor(left / SHARE))) or 0
  end
  more_n, more_t = share(requests > 0, more_n, n_left), share(tokens_limit > 0, more_t, t_left)
  more_m = share(budget >= 0, more_m, m_left)
  count(limits, 'n', target, more_n)
  count(limits, 't', target, more_t)
  if more_m > 0 then
    for _, field in ipairs({'held', 'held:' .. me, 'lent', 'lent:' .. me}) do add(purse, field, more_m) end
    m_left = m_left - more_m
  end
  local valid = (target + 1) * SLOT_MS - now
  return {target, valid, kept, more_n, more_t, more_m, math.max(0, n_left - more_n), math.max(0, t_left - more_t), m_left, tight}
end

for _, row in ipairs(syncs) do pcall(sync, row) end
local verdicts, lents = {}, {}
for i, row in ipairs(asks) do
  local done, answer = pcall(ask, unpack(row))
  verdicts[i] = done and answer or {4, slot, 0, 0, -1, 0, 0}
end
for i, row in ipairs(syncs) do
  local done, answer = pcall(lend, row)
  lents[i] = done and answer or {slot, 0, false, 0, 0, 0, 0, 0, -1, true}
end
local packed = cmsgpack.pack({number, verdicts, lents})
redis.call('SET', mine, packed, 'PX', life)
return packed
"""
)
