-- Spreads a publication that is not kept, unless its key was seen before (engines.md 3.6).
local result = KEYS[1]
local payload, channel, command, result_ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if redis.call('HEXISTS', result, 'e') == 1 then
  return {'0', '', '1', '0'}
end
if channel ~= '' then
  redis.call(command, channel, payload)
end
redis.call('HSET', result, 'e', '')
redis.call('EXPIRE', result, result_ttl)
return {'0', '', '0', '0'}
