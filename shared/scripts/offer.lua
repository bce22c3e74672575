-- Accept a session, unless its room has one already or the queue is full; a dead letter whose launch it is goes.
--
-- KEYS  room, launch, relaunch, events, session, dead, agents
-- ARGV  session id, launch JSON, `queued` event JSON, group of claims, queue limit, events kept, dead letter's id or '',
--       the agent whose streams these are, '' for the default one
-- Gives {'queued', session id, queue depth} or {'reused', the room's session id, 0} or {'full', '', queue depth} or
-- {'gone', '', 0}: there is no such dead letter. Only the first changes anything.
--
-- Repeating a call is safe: this very session has the room then, or has had it and is over already. The depth counts
-- entries that are in no pending list, this one included.
local room, launch, relaunch, events, session, dead, agents = unpack(KEYS)
local id, launch_json, event_json, group, limit, kept, letter, agent = unpack(ARGV)

-- XPENDING says the number too, but with it that of each consumer.
local function pending_in(stream)
  for _, info in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local about = {}
    for i = 1, #info, 2 do about[info[i]] = info[i + 1] end
    if about['name'] == group then return about['pending'] end
  end
  return 0
end
local function waiting_in(stream)
  return redis.call('XLEN', stream) - pending_in(stream)
end
local function depth()
  return waiting_in(launch) + waiting_in(relaunch)
end

local holder = redis.call('GET', room)
if holder == id or redis.call('EXISTS', session) == 1 then return {'queued', id, depth()} end
if letter ~= '' and #redis.call('XRANGE', dead, letter, letter) == 0 then return {'gone', '', 0} end
if holder then return {'reused', holder, 0} end

for _, stream in ipairs({launch, relaunch}) do
  local made = redis.pcall('XGROUP', 'CREATE', stream, group, '0', 'MKSTREAM')
  if made.err and not made.err:find('BUSYGROUP', 1, true) then return made end
end
local waiting = depth()
if waiting >= tonumber(limit) then return {'full', '', waiting} end

if agent ~= '' then redis.call('SADD', agents, agent) end
local entry = redis.call('XADD', events, 'MAXLEN', '~', kept, '*', 'json', event_json)
redis.call('XADD', session, entry, 'json', event_json)
redis.call('XADD', launch, entry, 'json', launch_json)
redis.call('SET', room, id)
if letter ~= '' then redis.call('XDEL', dead, letter) end
return {'queued', id, waiting + 1}
