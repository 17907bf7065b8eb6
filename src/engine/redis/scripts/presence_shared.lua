-- What all presence scripts share; stands in front of each. Time is the server's: nodes may disagree about theirs.
local expire, data, user_expire, user_clients = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local mapping, field_ttl = ARGV[1] == '1', ARGV[2] == '1'
local now = tonumber(redis.call('TIME')[1])

-- The user in an info: the first field of the Protobuf message.
local function user_of(info)
  if string.byte(info, 1) ~= 10 then
    return ''
  end
  local length, scale, at = 0, 1, 2
  while true do
    local byte = string.byte(info, at)
    if not byte or at > 6 then
      return ''
    end
    at = at + 1
    length = length + (byte % 128) * scale
    if byte < 128 then
      return string.sub(info, at, at + length - 1)
    end
    scale = scale * 128
  end
end

-- One connection of the user less.
local function release(user)
  if redis.call('HINCRBY', user_clients, user, -1) <= 0 then
    redis.call('HDEL', user_clients, user)
    redis.call('ZREM', user_expire, user)
  end
end

local function forget(client)
  if mapping then
    local info = redis.call('HGET', data, client)
    if info then
      release(user_of(info))
    end
  end
  redis.call('HDEL', data, client)
  if not field_ttl then
    redis.call('ZREM', expire, client)
  end
end

-- Entries nobody has renewed.
local function expire_clients()
  if field_ttl then
    return
  end
  local late = redis.call('ZRANGEBYSCORE', expire, '0', now)
  for _, client in ipairs(late) do
    forget(client)
  end
end

