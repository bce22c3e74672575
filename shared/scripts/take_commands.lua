-- Take over what other consumers of command streams were given and have not done.
--
-- KEYS  command streams
-- ARGV  group of commands, holder, '1' to begin with these streams: they and the group are made if they are not there,
--       and what the holder itself was given, and what nobody was given yet, is given too
-- Gives the server's time in ms, and for each stream {its number in KEYS, entry id, command JSON, entry id, ...}, oldest
-- first; nothing for a stream without such entries, or that is gone.
local group, holder, own = unpack(ARGV)

local time = redis.call('TIME')
local answer = {time[1] * 1000 + math.floor(time[2] / 1000)}
for number, stream in ipairs(KEYS) do
  if own == '1' then
    local made = redis.pcall('XGROUP', 'CREATE', stream, group, '0', 'MKSTREAM')
    if made.err and not made.err:find('BUSYGROUP', 1, true) then return made end
  end
  -- An error says that there is no such group, or stream: the session is over.
  local pending = redis.pcall('XPENDING', stream, group)
  local wanted = false
  for _, consumer in ipairs(not pending.err and pending[4] or {}) do
    wanted = wanted or consumer[1] ~= holder or own == '1'
  end
  local taken = {number}
  if wanted then
    for _, lease in ipairs(redis.call('XPENDING', stream, group, '-', '+', pending[1])) do
      if lease[2] ~= holder or own == '1' then
        for _, entry in ipairs(redis.call('XCLAIM', stream, group, holder, 0, lease[1])) do
          taken[#taken + 1] = entry[1]
          taken[#taken + 1] = entry[2][2]
        end
      end
    end
  end
  local unseen = own == '1' and redis.call('XREADGROUP', 'GROUP', group, holder, 'STREAMS', stream, '>')
  for _, entry in ipairs(unseen and unseen[1][2] or {}) do
    taken[#taken + 1] = entry[1]
    taken[#taken + 1] = entry[2][2]
  end
  if #taken > 1 then answer[#answer + 1] = taken end
end
return answer
