-- Sends one request after the other, each with the next session's id: wrk ... -s load.lua URL -- TEMPLATE SESSIONS
local before, after, sessions, at

function init(args)
  local file = assert(io.open(args[1], "rb"))
  local text = file:read("*a")
  file:close()
  local from, to = text:find("@SESSION@", 1, true)
  before, after, sessions, at = text:sub(1, from - 1), text:sub(to + 1), tonumber(args[2]), 0
end

function request()
  at = at % sessions + 1
  return before .. string.format("bench-%06d", at) .. after
end
