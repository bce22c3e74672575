-- Take from a bucket of tokens that fills by itself, also more than are in it: that is a debt, which the filling pays.
--
-- KEYS  bucket
-- ARGV  how many to take, microseconds in which one more is there, how many it holds
-- Gives how many are in it now, in millionths; below 0: a debt.
--
-- The bucket is kept as the moment at which it is full again, and for no longer than that. Behind the point is when that
-- was written: a clock that is before it was set back, and what was to be filled then is to be filled still, not more.
local bucket = KEYS[1]
local taken, interval, holds = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local full, written = (redis.call('GET', bucket) or ''):match('^(%d+)%.?(%d*)')
full, written = tonumber(full) or now, tonumber(written) or now
full = math.max(full - math.max(written - now, 0), now) + taken * interval
if full > now then
  redis.call('SET', bucket, string.format('%.0f.%.0f', full, now), 'PX', math.ceil((full - now) / 1000))
end
return math.floor((holds - (full - now) / interval) * 1000000)
