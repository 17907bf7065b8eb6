-- Appends a publication to a stream and spreads it, unless its key or its version was seen before (engines.md 3.6).
local stream, meta, result = KEYS[1], KEYS[2], KEYS[3]
local payload, size, ttl, channel, meta_ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local fresh_epoch, command, result_ttl = ARGV[6], ARGV[7], ARGV[8]
local version, version_epoch, delta = ARGV[9], ARGV[10], ARGV[11]

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

if version ~= '0' then
  local stored = redis.call('HMGET', meta, 'v', 've', 's')
  local old = stored[1]
  -- By length, then as text: numbers of scripts are exact to 2^53 only.
  local newer = not old or #version > #old or (#version == #old and version > old)
  if not newer and (version_epoch == '' or version_epoch == stored[2]) then
    return {stored[3] or '0', epoch, '0', '1'}
  end
  redis.call('HSET', meta, 'v', version, 've', version_epoch)
end

local offset = string.format('%.0f', redis.call('HINCRBY', meta, 's', 1))
if meta_ttl ~= '0' then
  redis.call('EXPIRE', meta, meta_ttl)
end
if offset == '1' then
  -- What is left of a stream whose position was lost cannot be reached any more.
  redis.call('DEL', stream)
end
local previous = ''
if delta == '1' and channel ~= '' then
  local newest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)
  if newest[1] then
    previous = newest[1][2][2]
  end
end
redis.call('XADD', stream, 'MAXLEN', size, offset, 'd', payload)
redis.call('EXPIRE', stream, ttl)
if channel ~= '' then
  if delta == '1' then
    redis.call(command, channel, '__d1:' .. offset .. ':' .. epoch .. ':' .. #previous .. ':' .. previous ..
      ':' .. #payload .. ':' .. payload)
  else
    redis.call(command, channel, '__p1:' .. offset .. ':' .. epoch .. '__' .. payload)
  end
end
if result_ttl ~= '' then
  redis.call('HSET', result, 'e', epoch, 's', offset)
  redis.call('EXPIRE', result, result_ttl)
end
return {offset, epoch, '0', '0'}
