-- Take from a bucket of tokens that fills by itself, also more than are in it: that is a debt, which the filling pays.
--
-- KEYS  bucket
-- ARGV  how many to take, microseconds in which one more is there, how many it holds
-- Gives how many are in it now, in millionths; below 0: a debt.
--
-- The bucket is kept as the moment at which it is full again, and for no longer than that.
local bucket = KEYS[1]
local taken, interval, holds = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local full = math.max(tonumber(redis.call('GET', bucket) or now), now) + taken * interval
if full > now then
  redis.call('SET', bucket, string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000))
end
return math.floor((holds - (full - now) / interval) * 1000000)
