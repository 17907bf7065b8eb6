expire_clients()
if not field_ttl then
  local late = redis.call('ZRANGEBYSCORE', user_expire, '0', now)
  for _, user in ipairs(late) do
    redis.call('HDEL', user_clients, user)
    redis.call('ZREM', user_expire, user)
  end
end
return {redis.call('HLEN', data), redis.call('HLEN', user_clients)}
