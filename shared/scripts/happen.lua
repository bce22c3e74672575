-- Add to what went on in a session's call, if the caller still holds its lease.
--
-- KEYS  the launch's stream, activity, the session's activity
-- ARGV  group of claims, entry id, holder, activity kept, the session's activity kept, seconds that it is kept,
--       activity JSON...
-- Gives 1, or 0 when the lease is not the holder's: nothing was changed.
local launch, activity, session = unpack(KEYS)
local group, entry, holder, kept, session_kept, kept_s = unpack(ARGV)

local lease = redis.call('XPENDING', launch, group, entry, entry, 1)[1]
if not lease or lease[2] ~= holder then return 0 end
for i = 7, #ARGV do
  tell(activity, kept, ARGV[i], session, ARGV[i])
end
redis.call('XTRIM', session, 'MAXLEN', '~', session_kept)
redis.call('EXPIRE', session, kept_s)
return 1
