-- Reads position and elements of a list, newest first; gives it an epoch when it has none (engines.md 3.6).
local list, meta = KEYS[1], KEYS[2]
local include, meta_ttl, fresh_epoch = ARGV[1], ARGV[2], ARGV[3]

local position = redis.call('HMGET', meta, 'e', 's')
local epoch, top = position[1], position[2] or '0'
if not epoch then
  epoch, top = fresh_epoch, '0'
  redis.call('HSET', meta, 'e', epoch)
  redis.call('HDEL', meta, 's')
  redis.call('DEL', list)
end
if meta_ttl ~= '0' then
  redis.call('EXPIRE', meta, meta_ttl)
end
if include == '0' then
  return {top, epoch, {}}
end
return {top, epoch, redis.call('LRANGE', list, 0, -1)}
