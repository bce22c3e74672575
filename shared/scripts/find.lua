-- The live session of a room.
--
-- KEYS  room
-- Gives its id, or '' when the room has none.
return redis.call('GET', KEYS[1]) or ''
