-- Take entries out of streams whose ids are ahead of the clock: after one of those nothing could be added any more, or
-- only with such an id. A launch stays as a dead letter; groups and their pending lists are as before.
--
-- KEYS  events, activity, dead, streams...
-- ARGV  of each of those streams what it is: 'launch', 'told' for one whose ids a feed gives, 'presence' for one whose
--       entries are worth nothing but by their age, or ''
-- Gives {stream, how many entries were taken out, ...}; nothing for a stream that is as it should be, or is none.
--
-- An id of a told stream cannot be ahead of the feeds, nor an id of these ahead of the clock, unless it was stepped back:
-- by AHEAD_MS of shared/script.py at most. For as long no presence would grow older, so there a second is too much.
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

local function before(a, b)
  local a_ms, a_seq = a:match('(%d+)-(%d+)')
  local b_ms, b_seq = b:match('(%d+)-(%d+)')
  if a_ms == b_ms then a_ms, b_ms = a_seq, b_seq end
  if #a_ms ~= #b_ms then return #a_ms < #b_ms end
  return a_ms < b_ms
end

local function named(pairs_)
  local about = {}
  for i = 1, #pairs_, 2 do about[pairs_[i]] = pairs_[i + 1] end
  return about
end

local function about(stream)
  local info = redis.pcall('XINFO', 'STREAM', stream)
  return not info.err and named(info) or nil
end

local function pending_of(stream, group)
  return redis.call('XPENDING', stream, group, '-', '+', 100000)
end

-- A stream forgets its last id only when it is made anew.
local function set_back(stream, limit, kind)
  local found = about(stream)
  if not found or not before(limit, found['last-generated-id']) then return 0 end
  local ahead, kept = redis.call('XRANGE', stream, '(' .. limit, '+'), redis.call('XRANGE', stream, '-', limit)
  local groups = redis.call('XINFO', 'GROUPS', stream)
  local lists = {}
  for i, group in ipairs(groups) do
    groups[i] = named(group)
    lists[i] = pending_of(stream, groups[i]['name'])
  end
  local lasts_ms = redis.call('PTTL', stream)

  redis.call('DEL', stream)
  for _, entry in ipairs(kept) do redis.call('XADD', stream, entry[1], entry[2][1], entry[2][2]) end
  for i, group in ipairs(groups) do
    local delivered = group['last-delivered-id']
    -- Whoever had what was ahead had all that is left. Not the limit: that may be the very next id.
    if before(limit, delivered) then delivered = #kept > 0 and kept[#kept][1] or '0-0' end
    redis.call('XGROUP', 'CREATE', stream, group['name'], delivered, 'MKSTREAM')
    for _, lease in ipairs(lists[i]) do
      redis.call('XCLAIM', stream, group['name'], lease[2], 0, lease[1], 'IDLE', lease[3], 'RETRYCOUNT', lease[4],
                 'FORCE', 'JUSTID')
    end
  end
  if #kept > 0 then
    redis.call('XSETID', stream, kept[#kept][1], 'ENTRIESADDED', math.max(found['entries-added'] - #ahead, #kept))
  end
  if lasts_ms > 0 then redis.pcall('PEXPIRE', stream, lasts_ms) end
  if kind == 'launch' then
    for _, entry in ipairs(ahead) do
      local letter = cjson.encode({v = 1, unreadable = entry[2][2]:sub(1, 100000)})
      redis.call('XADD', KEYS[3], '*', 'json', letter)
    end
  end
  return math.max(#ahead, 1)
end

local told = {}
local function note(stream, count)
  if count > 0 then
    told[#told + 1] = stream
    told[#told + 1] = count
  end
end

local loose = string.format('%.0f-0', now_ms + AHEAD_MS)
for i = 1, 3 do note(KEYS[i], set_back(KEYS[i], loose, '')) end
local strict = string.format('%.0f-0', now_ms)
for i = 1, 2 do
  local feed = about(KEYS[i])
  if feed and before(strict, feed['last-generated-id']) then strict = feed['last-generated-id'] end
end
local limits = {launch = strict, told = strict, presence = string.format('%.0f-0', now_ms + 1000), [''] = loose}
for i = 4, #KEYS do
  local kind = ARGV[i - 3]
  note(KEYS[i], set_back(KEYS[i], limits[kind], kind))
end
return told
