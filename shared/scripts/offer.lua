-- Accept a session, unless its room has one already or the queue is full.
--
-- KEYS  room, launch, events, session
-- ARGV  session id, launch JSON, `queued` event JSON, group of claims, queue limit, events kept
-- Gives {'queued', session id, queue depth} or {'reused', the room's session id, 0} or {'full', '', queue depth}.
--
-- Repeating a call is safe: the room then belongs to this very session. The depth counts entries that are in no
-- pending list, this one included.
local room, launch, events, session = unpack(KEYS)
local id, launch_json, event_json, group, limit, kept = unpack(ARGV)

local function depth()
  return redis.call('XLEN', launch) - redis.call('XPENDING', launch, group)[1]
end

local holder = redis.call('GET', room)
if holder == id then return {'queued', id, depth()} end
if holder then return {'reused', holder, 0} end

redis.pcall('XGROUP', 'CREATE', launch, group, '0', 'MKSTREAM')
local waiting = depth()
if waiting >= tonumber(limit) then return {'full', '', waiting} end

local entry = redis.call('XADD', events, 'MAXLEN', '~', kept, '*', 'json', event_json)
redis.call('XADD', session, entry, 'json', event_json)
redis.call('XADD', launch, entry, 'json', launch_json)
redis.call('SET', room, id)
return {'queued', id, waiting + 1}
