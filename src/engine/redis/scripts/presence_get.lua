expire_clients()
return redis.call('HGETALL', data)
