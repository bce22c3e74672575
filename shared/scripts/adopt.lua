-- Accept a session and give its lease to the caller in the same step: a runner that was started for one room.
--
-- KEYS  room, launch, relaunch, events, session
-- ARGV  session id, launch JSON, `queued` event JSON, group of claims, events kept, holder
-- Gives {'adopted', entry id} or {'reused', the room's session id} or {'behind', ''}.
--
-- A group hands entries out in order, so a launch can be taken at once only while no other waits: 'behind' says that
-- one does, and nothing was changed.
-- Repeating a call is safe: who holds the session's first launch already is told so again.
local room, launch, relaunch, events, session = unpack(KEYS)
local id, launch_json, event_json, group, kept, holder = unpack(ARGV)

local owner = redis.call('GET', room)
if owner == id then
  local entry = redis.call('XRANGE', session, '-', '+', 'COUNT', 1)[1][1]
  local lease = redis.call('XPENDING', launch, group, entry, entry, 1)[1]
  if lease and lease[2] == holder then return {'adopted', entry} end
end
if owner then return {'reused', owner} end
for _, stream in ipairs({launch, relaunch}) do
  local made = redis.pcall('XGROUP', 'CREATE', stream, group, '0', 'MKSTREAM')
  if made.err and not made.err:find('BUSYGROUP', 1, true) then return made end
  if redis.call('XLEN', stream) > redis.call('XPENDING', stream, group)[1] then return {'behind', ''} end
end

local entry = tell(events, kept, event_json, launch, launch_json, session, event_json)
redis.call('SET', room, id)
redis.call('XREADGROUP', 'GROUP', group, holder, 'COUNT', 1, 'STREAMS', launch, '>')
return {'adopted', entry}
