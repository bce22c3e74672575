-- Accept a command for a session that lives.
--
-- KEYS  room, commands
-- ARGV  session id, command JSON, group of commands
-- Gives 1, or 0 when the room is not this session's any more: nothing was changed.
local room, commands = unpack(KEYS)
local session_id, command_json, group = unpack(ARGV)

if redis.call('GET', room) ~= session_id then return 0 end
redis.pcall('XGROUP', 'CREATE', commands, group, '0', 'MKSTREAM')
redis.call('XADD', commands, '*', 'json', command_json)
return 1
