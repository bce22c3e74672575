-- End a session: launch, lease, commands and room index go, its history says why. Each command that is still undone
-- gets its fate, and who waits for it a reply.
--
-- KEYS  the launch's stream, events, session, room, commands, dead, what the keys of replies begin with
-- ARGV  group of claims, entry id, holder ('' for a launch that nobody has claimed), shortest age of the lease in ms,
--       session id, attempt, event JSON, dead letter JSON or '', why commands come too late, events kept, seconds that
--       the history is kept, dead letters kept, replies kept, seconds that replies are kept
-- Gives 'finished'; 'gone' when there is no such launch; 'held' when the lease is another's, or younger. Only the
-- first changes anything.
local launch, events, session, room, commands, dead, replies = unpack(KEYS)
local group, entry, holder, age_ms, session_id, attempt, event_json, letter, too_late = unpack(ARGV)
local kept, kept_s, dead_kept, replies_kept, replies_kept_s = unpack(ARGV, 10)

if #redis.call('XRANGE', launch, entry, entry) == 0 then return 'gone' end
local lease = redis.call('XPENDING', launch, group, entry, entry, 1)[1]
if (lease and lease[2] or '') ~= holder then return 'held' end
if lease and lease[3] < tonumber(age_ms) then return 'held' end

local letter_id

local function note(json)
  local told, refused = pcall(function() tell(events, kept, json, session, json) end)
  if told then return end
  if letter_id then redis.call('XDEL', dead, letter_id) end
  error(refused)
end

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

-- A command can be any JSON, or none: what is taken from it is of a form that can stand in a new entry.
local function readable(json)
  local ok, found = pcall(cjson.decode, json)
  local command = ok and type(found) == 'table' and found or {}
  local function name(field)
    local text = command[field]
    return type(text) == 'string' and #text <= 200 and text:match('^[%w_.-]+$') or ''
  end
  local lasts_s = type(command['expires_s']) == 'number' and command['expires_s'] or math.huge
  local kind = name('type')
  return name('command_id'), kind == 'sealed' and name('kind') or kind, name('reply_to'), lasts_s
end

local function fate_of(id, json)
  local command_id, kind, reply_to, lasts_s = readable(json)
  local fate = {outcome = 'failed', reason = 'session_over', message = too_late, v = 1, command_id = command_id}
  if kind == 'leave' then
    fate.outcome, fate.reason = 'delivered', nil
  elseif now_ms - tonumber(id:match('^%d+')) >= lasts_s * 1000 then
    fate.outcome, fate.reason, fate.message = 'expired', nil, nil
  end
  if reply_to ~= '' then
    redis.pcall('XADD', replies .. reply_to, 'MAXLEN', '~', replies_kept, '*', 'json', cjson.encode(fate))
    redis.pcall('EXPIRE', replies .. reply_to, replies_kept_s)
  end
  if kind ~= 'offer' and kind ~= 'candidates' then
    fate.type, fate.kind, fate.session_id, fate.attempt = 'command', kind, session_id, tonumber(attempt)
    note(cjson.encode(fate))
  end
end

-- What might be refused comes first: a script that fails half-way has then lost nothing, and told nothing.
if letter ~= '' then letter_id = redis.call('XADD', dead, 'MAXLEN', '~', dead_kept, '*', 'json', letter) end
local after = '-'
repeat
  local undone = redis.call('XRANGE', commands, after, '+', 'COUNT', 100)
  for _, command in ipairs(undone) do
    fate_of(command[1], command[2][2])
    after = '(' .. command[1]
  end
until #undone == 0
note(event_json)
redis.call('EXPIRE', session, kept_s)
redis.call('XACK', launch, group, entry)
redis.call('XDEL', launch, entry)
if redis.call('GET', room) == session_id then redis.call('DEL', room) end
redis.call('DEL', commands)
return 'finished'
