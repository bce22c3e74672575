-- Add to a session's history, if the caller still holds its lease.
--
-- KEYS  the launch's stream, events, session
-- ARGV  group of claims, entry id, holder, event JSON, events kept
-- Gives 1, or 0 when the lease is not the holder's: nothing was changed.
local launch, events, session = unpack(KEYS)
local group, entry, holder, event_json, kept = unpack(ARGV)

local lease = redis.call('XPENDING', launch, group, entry, entry, 1)[1]
if not lease or lease[2] ~= holder then return 0 end
tell(events, kept, event_json, session, event_json)
return 1
