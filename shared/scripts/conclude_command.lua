-- Write a command's fate, and take the command away.
--
-- KEYS  commands, events, session, the replies of the gateway that waits (only if one does)
-- ARGV  group of commands, entry id, `command` event JSON or '', reply JSON, events kept, replies kept, seconds that
--       replies are kept
-- Gives 1, or 0 when the command has its fate already: nothing was changed.
--
-- It does not matter who asks: what a bot has had, it has had, even if its runner has lost the lease since.
local commands, events, session, replies = unpack(KEYS)
local group, entry, event_json, reply_json, kept, replies_kept, replies_kept_s = unpack(ARGV)

if #redis.call('XRANGE', commands, entry, entry) == 0 then return 0 end
if event_json ~= '' then
  tell(events, kept, event_json, session, event_json)
end
if replies then
  redis.call('XADD', replies, 'MAXLEN', '~', replies_kept, '*', 'json', reply_json)
  redis.call('EXPIRE', replies, replies_kept_s)
end
redis.call('XACK', commands, group, entry)
redis.call('XDEL', commands, entry)
return 1
