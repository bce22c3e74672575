-- Take over what other consumers of command streams were given and have not done.
--
-- KEYS  command streams
-- ARGV  group of commands, holder, '1' to give what the holder itself was given, too
-- Gives the server's time in ms, and for each stream {its number in KEYS, entry id, command JSON, entry id, ...}, oldest
-- first; nothing for a stream without such entries, or that is gone.
local group, holder, own = unpack(ARGV)

local time = redis.call('TIME')
local answer = {time[1] * 1000 + math.floor(time[2] / 1000)}
for number, stream in ipairs(KEYS) do
  -- An error says that there is no such group, or stream: the session is over.
  local pending = redis.pcall('XPENDING', stream, group)
  local wanted = false
  for _, consumer in ipairs(not pending.err and pending[4] or {}) do
    wanted = wanted or consumer[1] ~= holder or own == '1'
  end
  if wanted then
    local taken = {number}
    for _, lease in ipairs(redis.call('XPENDING', stream, group, '-', '+', pending[1])) do
      if lease[2] ~= holder or own == '1' then
        for _, entry in ipairs(redis.call('XCLAIM', stream, group, holder, 0, lease[1])) do
          taken[#taken + 1] = entry[1]
          taken[#taken + 1] = entry[2][2]
        end
      end
    end
    if #taken > 1 then answer[#answer + 1] = taken end
  end
end
return answer
