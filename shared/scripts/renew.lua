-- Make a runner's leases young again.
--
-- KEYS  launch
-- ARGV  group of claims, holder, entry ids...
-- Gives the ids that the holder has not, or no longer: their bots must be stopped.
local launch = KEYS[1]
local group, holder = ARGV[1], ARGV[2]

local lost = {}
for i = 3, #ARGV do
  local lease = redis.call('XPENDING', launch, group, ARGV[i], ARGV[i], 1)[1]
  if lease and lease[2] == holder then
    redis.call('XCLAIM', launch, group, holder, 0, ARGV[i], 'JUSTID')
  else
    lost[#lost + 1] = ARGV[i]
  end
end
return lost
