"""
What `pushd.people.redis_people` has Redis do in one step, in Lua.

Every change and its line in the feed belong to one script, so that nobody sees the one without the other. The
feed's key is the last of each script's keys. Where the names of keys depend on what is in others (``ARGV[1]``
is the prefix then), a script takes them as they come: Redis Cluster needs a prefix with a hash tag, such as
``{pushd}:``, which keeps all keys together.
"""

from __future__ import annotations

from pushd.redis.script import Script

# Entries that the feed keeps. Whoever was away for longer asks for everything again.
FEED_LENGTH = 10_000

# Values of ``status`` with which one may log in, "" being none at all. Whatever else somebody has written
# there may mean "not any more", and is taken to.
ENABLED = ("enabled", "", "1", "active")

# Of the hash that a token is.
TOKEN_FIELDS = (
    "user",
    "label",
    "writes",
    "reads",
    "rate_per_s",
    "created_at",
    "expires_at",
    "used_at",
    "used_from",
)
_FIELD_NAMES = ", ".join(map(repr, TOKEN_FIELDS))

_NOTE = f"""
local function note(username, aspect)
  redis.call('XADD', KEYS[#KEYS], 'MAXLEN', '~', {FEED_LENGTH}, '*', 'user', username, 'aspect', aspect)
end
"""

_IS_ENABLED = f"""
local function is_enabled(status)
  for _, word in ipairs({{{", ".join(map(repr, ENABLED))}}}) do
    if (status or '') == word then return true end
  end
  return false
end
"""

# KEYS: user. -> [password, salt, status, created_at], false for what there is not.
ACCOUNT = Script(
    "return cmsgpack.pack(redis.call('HMGET', KEYS[1], 'password', 'salt', 'status', 'created_at'))"
)

# KEYS: index. ARGV: prefix, after, limit. -> [[name, password, salt, status, created_at], ...]
ACCOUNTS = Script("""
local found = {}
local names = redis.call('ZRANGEBYLEX', KEYS[1], '(' .. ARGV[2], '+', 'LIMIT', 0, ARGV[3])
for i, name in ipairs(names) do
  local account = redis.call('HMGET', ARGV[1] .. 'user:' .. name, 'password', 'salt', 'status', 'created_at')
  table.insert(account, 1, name)
  found[i] = account
end
return cmsgpack.pack(found)
""")

# KEYS: user, index, feed. ARGV: name, password, status, created_at. Fields of others stay.
KEEP_ACCOUNT = Script(
    _NOTE
    + """
redis.call('HSET', KEYS[1], 'password', ARGV[2], 'status', ARGV[3], 'created_at', ARGV[4])
redis.call('HDEL', KEYS[1], 'salt')
redis.call('ZADD', KEYS[2], 0, ARGV[1])
note(ARGV[1], 'account')
return 1
"""
)

# KEYS: user, index. ARGV: name, the old hash, its password and salt if they may stand apart, the new hash.
# Whoever logs in is put into the index: a program that wrote an account may not have known of it.
REPLACE_HASH = Script("""
local kept = redis.call('HMGET', KEYS[1], 'password', 'salt')
local is_old = kept[1] == ARGV[2] or (kept[1] == ARGV[3] and (kept[2] or '') == ARGV[4])
if not kept[1] or not is_old then return 0 end
redis.call('HSET', KEYS[1], 'password', ARGV[5])
redis.call('HDEL', KEYS[1], 'salt')
redis.call('ZADD', KEYS[2], 0, ARGV[1])
return 1
""")

# KEYS: user, feed. ARGV: name, status.
ENABLE = Script(
    _NOTE
    + _IS_ENABLED
    + """
if redis.call('HEXISTS', KEYS[1], 'password') == 0 then return 0 end
if is_enabled(redis.call('HGET', KEYS[1], 'status')) ~= is_enabled(ARGV[2]) then
  redis.call('HSET', KEYS[1], 'status', ARGV[2])
  note(ARGV[1], 'account')
end
return 1
"""
)

# KEYS: user, index, subscriptions, connected, follows, followers, tokens, owners, grants, granted, feed.
# ARGV: prefix, name, whether grants of this name are its own ("1").
REMOVE_ACCOUNT = Script(
    _NOTE
    + """
local prefix, name = ARGV[1], ARGV[2]
local was_there = redis.call('HEXISTS', KEYS[1], 'password')
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], name)
if was_there == 1 then note(name, 'account') end
if redis.call('DEL', KEYS[3]) == 1 then note(name, 'subscriptions') end
redis.call('SREM', KEYS[4], name)
local touched = redis.call('SUNION', KEYS[5], KEYS[6])
for _, other in ipairs(touched) do
  redis.call('SREM', prefix .. 'followers:' .. other, name)
  redis.call('SREM', prefix .. 'follows:' .. other, name)
end
redis.call('DEL', KEYS[5], KEYS[6])
for _, hash in ipairs(redis.call('SMEMBERS', KEYS[7])) do redis.call('DEL', prefix .. 'token:' .. hash) end
redis.call('SREM', KEYS[8], name)
if redis.call('DEL', KEYS[7]) == 1 then note(name, 'tokens') end
if ARGV[3] == '1' then
  redis.call('SREM', KEYS[10], name)
  if redis.call('DEL', KEYS[9]) == 1 then note(name, 'grants') end
end
if #touched > 0 then note(name, 'friends') end
for _, other in ipairs(touched) do
  if other ~= name then note(other, 'friends') end
end
return was_there
"""
)

# KEYS: follows of the one, followers of the other, feed. ARGV: the one, the other.
FOLLOW = Script(
    _NOTE
    + """
redis.call('SADD', KEYS[2], ARGV[1])
if redis.call('SADD', KEYS[1], ARGV[2]) == 0 then return 0 end
note(ARGV[1], 'friends')
note(ARGV[2], 'friends')
return 1
"""
)

UNFOLLOW = Script(
    _NOTE
    + """
redis.call('SREM', KEYS[2], ARGV[1])
if redis.call('SREM', KEYS[1], ARGV[2]) == 0 then return 0 end
note(ARGV[1], 'friends')
note(ARGV[2], 'friends')
return 1
"""
)

# KEYS: follows, followers. -> [[followed, ...], [mutual, ...]]
FRIENDS = Script("""
return cmsgpack.pack({redis.call('SMEMBERS', KEYS[1]), redis.call('SINTER', KEYS[1], KEYS[2])})
""")

# KEYS: subscriptions. -> [filter, QoS, filter, QoS, ...]
SUBSCRIPTIONS = Script("return cmsgpack.pack(redis.call('HGETALL', KEYS[1]))")

# KEYS: subscriptions, feed. ARGV: name, filter, QoS.
KEEP_SUBSCRIPTION = Script(
    _NOTE
    + """
if redis.call('HGET', KEYS[1], ARGV[2]) == ARGV[3] then return 0 end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
note(ARGV[1], 'subscriptions')
return 1
"""
)

# KEYS: subscriptions, feed. ARGV: name, filter.
REMOVE_SUBSCRIPTION = Script(
    _NOTE
    + """
if redis.call('HDEL', KEYS[1], ARGV[2]) == 0 then return 0 end
note(ARGV[1], 'subscriptions')
return 1
"""
)

# KEYS: token. -> the values of TOKEN_FIELDS, false for what there is not.
TOKEN = Script(f"return cmsgpack.pack(redis.call('HMGET', KEYS[1], {_FIELD_NAMES}))")

# KEYS: tokens. ARGV: prefix. -> [[hash, the values of TOKEN_FIELDS ...], ...]
TOKENS = Script(f"""
local found = {{}}
for i, hash in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local token = redis.call('HMGET', ARGV[1] .. 'token:' .. hash, {_FIELD_NAMES})
  table.insert(token, 1, hash)
  found[i] = token
end
return cmsgpack.pack(found)
""")

_FORGET_TOKEN = """
local function forget(hash, list, owner, owners)
  redis.call('SREM', list, hash)
  if redis.call('EXISTS', list) == 0 then redis.call('SREM', owners, owner) end
  note(owner, 'tokens')
end
"""

# KEYS: owners. -> [name, ...]
TOKEN_OWNERS = Script("return cmsgpack.pack(redis.call('SMEMBERS', KEYS[1]))")

# KEYS: token, tokens, owners, feed. ARGV: prefix, hash, user, then fields and their values.
KEEP_TOKEN = Script(
    _NOTE
    + _FORGET_TOKEN
    + """
local owner = redis.call('HGET', KEYS[1], 'user')
if owner and owner ~= ARGV[3] then forget(ARGV[2], ARGV[1] .. 'tokens:' .. owner, owner, KEYS[3]) end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'user', ARGV[3], unpack(ARGV, 4))
redis.call('SADD', KEYS[2], ARGV[2])
redis.call('SADD', KEYS[3], ARGV[3])
note(ARGV[3], 'tokens')
return 1
"""
)

# KEYS: token, tokens, owners, feed. ARGV: user, hash.
REMOVE_TOKEN = Script(
    _NOTE
    + _FORGET_TOKEN
    + """
if redis.call('HGET', KEYS[1], 'user') ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
forget(ARGV[2], KEYS[2], ARGV[1], KEYS[3])
return 1
"""
)

# KEYS: token. ARGV: time, address.
TOKEN_USED = Script("""
local used_at = redis.call('HGET', KEYS[1], 'used_at')
if not used_at or tonumber(used_at) > tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'used_at', ARGV[1], 'used_from', ARGV[2])
return 1
""")

# KEYS: granted. ARGV: prefix. -> [[name, [pattern, permission, pattern, permission, ...]], ...]
GRANTS = Script("""
local found = {}
for i, name in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  found[i] = {name, redis.call('HGETALL', ARGV[1] .. 'grants:' .. name)}
end
return cmsgpack.pack(found)
""")

# KEYS: grants, granted, feed. ARGV: name, pattern, permission.
KEEP_GRANT = Script(
    _NOTE
    + """
if redis.call('HGET', KEYS[1], ARGV[2]) == ARGV[3] then return 0 end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
redis.call('SADD', KEYS[2], ARGV[1])
note(ARGV[1], 'grants')
return 1
"""
)

# KEYS: grants, granted, feed. ARGV: name, and a pattern, or none for all.
REMOVE_GRANTS = Script(
    _NOTE
    + """
local removed
if ARGV[2] then
  removed = redis.call('HDEL', KEYS[1], ARGV[2])
else
  removed = redis.call('DEL', KEYS[1])
end
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('SREM', KEYS[2], ARGV[1]) end
if removed == 0 then return 0 end
note(ARGV[1], 'grants')
return 1
"""
)

# KEYS: feed. -> the id of its newest entry; a feed without one gets one that is about nobody.
FEED_END = Script("""
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
if newest[1] then return newest[1][1] end
return redis.call('XADD', KEYS[1], '*', 'user', '', 'aspect', '')
""")

# KEYS: feed. ARGV: the id of an entry, a count. -> [[id, user, aspect], ...], this entry and those behind it.
FEED_FROM = Script("""
local found = {}
for i, entry in ipairs(redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2])) do
  local fields = {}
  for at = 1, #entry[2], 2 do fields[entry[2][at]] = entry[2][at + 1] end
  found[i] = {entry[1], fields['user'] or '', fields['aspect'] or ''}
end
return cmsgpack.pack(found)
""")
