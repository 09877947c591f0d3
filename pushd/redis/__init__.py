"""
The door to Redis: txredisapi, with what a server that must not wait for ever needs around it.

`pushd.redis.url` and `pushd.redis.errors` are cheap to import; `pushd.redis.door` loads txredisapi.
"""
