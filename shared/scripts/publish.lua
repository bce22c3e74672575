-- Add news that changes no state to a session's history.
--
-- KEYS  events, session
-- ARGV  event JSON, events kept
-- Gives 1, or 0 when there is no such session: nothing was changed.
local events, session = unpack(KEYS)
local event_json, kept = unpack(ARGV)

if redis.call('EXISTS', session) == 0 then return 0 end
tell(events, kept, event_json, session, event_json)
return 1
