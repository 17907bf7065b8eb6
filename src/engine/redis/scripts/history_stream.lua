-- Reads position and a part of a stream; gives the stream an epoch when it has none (engines.md 3.6).
local stream, meta = KEYS[1], KEYS[2]
local include, from, limit, reverse = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local meta_ttl, fresh_epoch = ARGV[5], ARGV[6]

local position = redis.call('HMGET', meta, 'e', 's')
local epoch, top = position[1], position[2] or '0'
if not epoch then
  epoch, top = fresh_epoch, '0'
  redis.call('HSET', meta, 'e', epoch)
  redis.call('HDEL', meta, 's')
  redis.call('DEL', stream)
end
if meta_ttl ~= '0' then
  redis.call('EXPIRE', meta, meta_ttl)
end
if include == '0' then
  return {top, epoch, {}}
end
local command, first, last = 'XRANGE', from, '+'
if reverse == '1' then
  command, last = 'XREVRANGE', '-'
  if from == '0' then
    first = top
  end
end
if limit == '0' then
  return {top, epoch, redis.call(command, stream, first, last)}
end
return {top, epoch, redis.call(command, stream, first, last, 'COUNT', limit)}
