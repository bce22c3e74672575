-- What of the launch stream may need mending; changes nothing.
--
-- KEYS  launch or relaunch
-- ARGV  group of claims, age in ms from which a lease is stale, how many of each to give at most
-- Gives {stale leases as {entry id, holder, age in ms, launch JSON}, waiting launches as {entry id, launch JSON}, the
-- server's time in ms}. A lease whose entry is gone has the launch JSON ''.
local launch = KEYS[1]
local group, age_ms, most = ARGV[1], ARGV[2], ARGV[3]

local stale = {}
for i, lease in ipairs(redis.call('XPENDING', launch, group, 'IDLE', age_ms, '-', '+', most)) do
  local entry = redis.call('XRANGE', launch, lease[1], lease[1])[1]
  stale[i] = {lease[1], lease[2], lease[3], entry and entry[2][2] or ''}
end

local delivered = '-'
for _, info in ipairs(redis.call('XINFO', 'GROUPS', launch)) do
  local about = {}
  for i = 1, #info, 2 do about[info[i]] = info[i + 1] end
  if about['name'] == group then delivered = '(' .. about['last-delivered-id'] end
end
local waiting = {}
for i, entry in ipairs(redis.call('XRANGE', launch, delivered, '+', 'COUNT', most)) do
  waiting[i] = {entry[1], entry[2][2]}
end

local time = redis.call('TIME')
return {stale, waiting, time[1] * 1000 + math.floor(time[2] / 1000)}
