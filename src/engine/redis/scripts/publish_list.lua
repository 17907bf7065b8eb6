-- Puts a publication in front of a list and spreads it, unless its key was seen before (engines.md 3.6).
local list, meta, result = KEYS[1], KEYS[2], KEYS[3]
local payload, size, ttl, channel, meta_ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local fresh_epoch, command, result_ttl = ARGV[6], ARGV[7], ARGV[8]

if result_ttl ~= '' then
  local known = redis.call('HMGET', result, 'e', 's')
  if known[1] then
    return {known[2] or '0', known[1], '1', '0'}
  end
end

local epoch = redis.call('HGET', meta, 'e')
if not epoch then
  epoch = fresh_epoch
  redis.call('HSET', meta, 'e', epoch)
end
local offset = string.format('%.0f', redis.call('HINCRBY', meta, 's', 1))
if meta_ttl ~= '0' then
  redis.call('EXPIRE', meta, meta_ttl)
end
if offset == '1' then
  redis.call('DEL', list)
end
local framed = '__p1:' .. offset .. ':' .. epoch .. '__' .. payload
redis.call('LPUSH', list, framed)
redis.call('LTRIM', list, 0, tonumber(size) - 1)
redis.call('EXPIRE', list, ttl)
if channel ~= '' then
  redis.call(command, channel, framed)
end
if result_ttl ~= '' then
  redis.call('HSET', result, 'e', epoch, 's', offset)
  redis.call('EXPIRE', result, result_ttl)
end
return {offset, epoch, '0', '0'}
