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

local function waiting_in(stream)
  return redis.call('XLEN', stream) - redis.call('XPENDING', stream, group)[1]
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
