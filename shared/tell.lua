-- What stands before each script that tells something. AHEAD_MS is that of shared/script.py.

-- Add to a feed, and under the same id to other streams: `tell(feed, kept, json, stream, its json, ...)`. Gives the id.
-- It happens whole or not at all. An error that begins with AHEAD says that an entry of one of them has an id which is
-- ahead of the clock, or of the feed, so that nothing can be added under the feed's next one.
local function tell(feed, kept, json, ...)
  local also = {...}
  local id = redis.pcall('XADD', feed, 'MAXLEN', '~', kept, '*', 'json', json)
  if type(id) == 'table' then
    error(id.err:find('exhausted', 1, true) and {err = 'AHEAD ' .. feed} or id)
  end
  local function undo(failed, so_far)
    redis.call('XDEL', feed, id)
    for i = 1, so_far, 2 do redis.call('XDEL', also[i], id) end
    error({err = failed})
  end
  if tonumber(id:match('^%d+')) > redis.call('TIME')[1] * 1000 + AHEAD_MS then undo('AHEAD ' .. feed, 0) end
  for i = 1, #also, 2 do
    local added = redis.pcall('XADD', also[i], id, 'json', also[i + 1])
    if type(added) == 'table' then
      undo(added.err:find('smaller', 1, true) and 'AHEAD ' .. also[i] or added.err, i - 1)
    end
  end
  return id
end

