-- End a session: launch, lease, commands and room index go, its history says why.
--
-- KEYS  the launch's stream, events, session, room, commands, dead
-- ARGV  group of claims, entry id, holder ('' for a launch that nobody has claimed), shortest age of the lease in ms,
--       session id, event JSON, dead letter JSON or '', events kept, seconds that the history is kept, dead letters kept
-- Gives 'finished'; 'gone' when there is no such launch; 'held' when the lease is another's, or younger. Only the
-- first changes anything.
local launch, events, session, room, commands, dead = unpack(KEYS)
local group, entry, holder, age_ms, session_id, event_json, letter, kept, kept_s, dead_kept = unpack(ARGV)

if #redis.call('XRANGE', launch, entry, entry) == 0 then return 'gone' end
local lease = redis.call('XPENDING', launch, group, entry, entry, 1)[1]
if (lease and lease[2] or '') ~= holder then return 'held' end
if lease and lease[3] < tonumber(age_ms) then return 'held' end

-- What might be refused comes first: a script that fails half-way has then lost nothing.
local id = redis.call('XADD', events, 'MAXLEN', '~', kept, '*', 'json', event_json)
redis.call('XADD', session, id, 'json', event_json)
redis.call('EXPIRE', session, kept_s)
if letter ~= '' then redis.call('XADD', dead, 'MAXLEN', '~', dead_kept, '*', 'json', letter) end
redis.call('XACK', launch, group, entry)
redis.call('XDEL', launch, entry)
if redis.call('GET', room) == session_id then redis.call('DEL', room) end
redis.call('DEL', commands)
return 'finished'
