-- Make a runner's leases young again.
--
-- KEYS  launch streams, then relaunch streams: most leases are of first attempts
-- ARGV  group of claims, holder, entry ids...
-- Gives the ids that the holder has not, or no longer: their bots must be stopped.
local group, holder = ARGV[1], ARGV[2]

local lost = {}
for i = 3, #ARGV do
  local held = false
  for _, stream in ipairs(KEYS) do
    local lease = redis.call('XPENDING', stream, group, ARGV[i], ARGV[i], 1)[1]
    if lease and lease[2] == holder then
      redis.call('XCLAIM', stream, group, holder, 0, ARGV[i], 'JUSTID')
      held = true
      break
    end
  end
  if not held then lost[#lost + 1] = ARGV[i] end
end
return lost
