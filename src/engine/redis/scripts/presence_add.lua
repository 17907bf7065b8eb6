local client, info, user, ttl = ARGV[3], ARGV[4], ARGV[5], ARGV[6]
if mapping then
  local known = redis.call('HGET', data, client)
  if known and user_of(known) ~= user then
    release(user_of(known))
    known = nil
  end
  if not known then
    redis.call('HINCRBY', user_clients, user, 1)
  end
  redis.call('EXPIRE', user_clients, ttl)
  if field_ttl then
    redis.call('HEXPIRE', user_clients, ttl, 'FIELDS', '1', user)
  else
    redis.call('ZADD', user_expire, now + tonumber(ttl), user)
    redis.call('EXPIRE', user_expire, ttl)
  end
end
redis.call('HSET', data, client, info)
redis.call('EXPIRE', data, ttl)
if field_ttl then
  redis.call('HEXPIRE', data, ttl, 'FIELDS', '1', client)
else
  redis.call('ZADD', expire, now + tonumber(ttl), client)
  redis.call('EXPIRE', expire, ttl)
end
return 1
