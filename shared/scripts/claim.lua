-- Give a runner the launch that has waited longest; a later attempt comes before any fresh launch.
--
-- KEYS  the relaunch streams of the runner's agents, then as many launch streams
-- ARGV  group of claims, holder
-- Gives {stream, entry id, fields...}: its lease is the holder's. Or {number} when none waits: how many consumers there
-- are where there are most.
local group, holder = ARGV[1], ARGV[2]

local function before(a, b)
  local a_ms, a_seq = a:match('(%d+)-(%d+)')
  local b_ms, b_seq = b:match('(%d+)-(%d+)')
  if a_ms ~= b_ms then return tonumber(a_ms) < tonumber(b_ms) end
  return tonumber(a_seq) < tonumber(b_seq)
end

local consumers = 0

-- What the group was given last, or nothing where there is no such stream or group.
local function delivered(stream)
  local groups = redis.pcall('XINFO', 'GROUPS', stream)
  for _, info in ipairs(groups.err and {} or groups) do
    local about = {}
    for i = 1, #info, 2 do about[info[i]] = info[i + 1] end
    if about['name'] == group then
      consumers = math.max(consumers, about['consumers'])
      return about['last-delivered-id']
    end
  end
end

local half = #KEYS / 2
for _, from in ipairs({1, half + 1}) do
  local oldest, its_stream
  for i = from, from + half - 1 do
    local last = delivered(KEYS[i])
    if not last then return redis.error_reply('NOGROUP ' .. KEYS[i] .. ' has no group ' .. group) end
    local found = redis.call('XRANGE', KEYS[i], '(' .. last, '+', 'COUNT', 1)[1]
    if found and (not oldest or before(found[1], oldest)) then oldest, its_stream = found[1], KEYS[i] end
  end
  if oldest then
    local given = redis.call('XREADGROUP', 'GROUP', group, holder, 'COUNT', 1, 'STREAMS', its_stream, '>')
    local entry = given[1][2][1]
    return {its_stream, entry[1], unpack(entry[2])}
  end
end
return {consumers}
