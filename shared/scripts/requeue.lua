-- Put the next attempt of a session in the place of the last one.
--
-- KEYS  the launch's stream, relaunch, events, session
-- ARGV  group of claims, entry id, holder, shortest age of the lease in ms, launch JSON, `queued` event JSON, events kept
-- Gives the new entry's id, or '' when the lease is not the holder's or is younger: nothing was changed.
--
-- The holder itself gives age 0. Whoever takes a stale lease away names the holder and the age that it saw.
local launch, relaunch, events, session = unpack(KEYS)
local group, entry, holder, age_ms, launch_json, event_json, kept = unpack(ARGV)

local lease = redis.call('XPENDING', launch, group, entry, entry, 1)[1]
if not lease or lease[2] ~= holder or lease[3] < tonumber(age_ms) then return '' end
-- What might be refused comes first: a script that fails half-way has then lost nothing.
local id = tell(events, kept, event_json, session, event_json, relaunch, launch_json)
redis.call('XACK', launch, group, entry)
redis.call('XDEL', launch, entry)
return id
