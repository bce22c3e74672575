-- Accept a command for a session that lives.
--
-- KEYS  room, commands
-- ARGV  session id, command JSON, group of commands, how many undone commands there may be with this one, and how many
--       bytes of memory they may take up
-- Gives 'sent'; 'over' when the room is not this session's any more; 'full'. Only the first changes anything.
--
-- A call whose answer was lost may be repeated: what is the newest entry already is not added again.
local room, commands = unpack(KEYS)
local session_id, command_json, group, most, most_bytes = unpack(ARGV)

if redis.call('GET', room) ~= session_id then return 'over' end
local newest = redis.call('XREVRANGE', commands, '+', '-', 'COUNT', 1)[1]
if newest and newest[2][2] == command_json then return 'sent' end
if redis.call('XLEN', commands) >= tonumber(most) then return 'full' end
local bytes = newest and redis.call('MEMORY', 'USAGE', commands, 'SAMPLES', 0) or 0
if bytes + #command_json > tonumber(most_bytes) then return 'full' end
redis.pcall('XGROUP', 'CREATE', commands, group, '0', 'MKSTREAM')
redis.call('XADD', commands, '*', 'json', command_json)
return 'sent'
