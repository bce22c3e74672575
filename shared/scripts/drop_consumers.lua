-- Forget the consumers of a group that are gone.
--
-- KEYS  stream
-- ARGV  group, time in ms without a call after which a consumer is gone
-- Gives how many were dropped. One that has anything pending stays: its entries would go with it.
local stream = KEYS[1]
local group, idle_ms = ARGV[1], tonumber(ARGV[2])

local dropped = 0
for _, info in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
  local about = {}
  for i = 1, #info, 2 do about[info[i]] = info[i + 1] end
  if about['pending'] == 0 and about['idle'] >= idle_ms then
    redis.call('XGROUP', 'DELCONSUMER', stream, group, about['name'])
    dropped = dropped + 1
  end
end
return dropped
