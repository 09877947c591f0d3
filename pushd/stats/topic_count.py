"""
How many subscribe to each topic filter, at all nodes together, in Redis, for whoever asks there.

    topic-count                 sorted set: subscribers by topic filter, of all nodes
    pushd:topic-count:NODE      sorted set: what one node has added to it
    pushd:topic-count-nodes     sorted set: the nodes, by the second in which their lease ends

A node tells what a filter's count is now, never by how much it has changed: told twice, it counts once. One
script compares that with what the node said before, and adds the difference to the sum. So the sum is right
whenever each node's own set is; a process that is killed or loses its connection makes both right again by
telling everything, when it is back, after it has looked at what it had said. One that does not come back is
taken out of the sum by the others when its lease has ended.

Changes are collected and told once per second. While Redis is away nobody waits for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from pushd.broker.subscriber_counts import SubscriberCounts
from pushd.redis.door import Door
from pushd.redis.errors import RedisRefused, RedisUnavailable
from pushd.redis.script import Script

SUM = "topic-count"
OWN = "pushd:topic-count:"
NODES = "pushd:topic-count-nodes"

INTERVAL_S = 1.0
LEASE_S = 60
TICKS_PER_LEASE = 20  # after so many it is renewed: two may fail

# Filters in one question. Redis takes a millisecond for as many, and so do we.
AT_ONCE = 500

FAILED = "Subscribers are not counted in Redis"

# KEYS: sum, own, nodes. ARGV: node, lease in seconds, what the keys of nodes begin with.
# -> [whether all that the node has told is still there, nodes whose lease has ended]
# If somebody has deleted the sum, all nodes have to tell everything again.
RENEW = Script("""
local now = tonumber(redis.call('TIME')[1])
if redis.call('EXISTS', KEYS[1]) == 0 then
  for _, node in ipairs(redis.call('ZRANGE', KEYS[3], 0, -1)) do
    if redis.call('DEL', ARGV[3] .. node) == 1 then redis.call('ZADD', KEYS[3], 0, node) end
  end
end
local lease = tonumber(redis.call('ZSCORE', KEYS[3], ARGV[1]) or 0)
redis.call('ZADD', KEYS[3], now + ARGV[2], ARGV[1])
return {lease > 0 and 1 or 0, redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', '(' .. now)}
""")

_ADD = """
local function add(filter, change)
  if tonumber(redis.call('ZINCRBY', KEYS[1], change, filter)) <= 0 then
    redis.call('ZREM', KEYS[1], filter)
  end
end
"""

# KEYS: sum, own, nodes. ARGV: node, then filter and count in turns. -> 0 if the node was taken out meanwhile.
TELL = Script(
    _ADD
    + """
if tonumber(redis.call('ZSCORE', KEYS[3], ARGV[1]) or 0) <= 0 then return 0 end
for i = 2, #ARGV, 2 do
  local filter, count = ARGV[i], tonumber(ARGV[i + 1])
  local old = tonumber(redis.call('ZSCORE', KEYS[2], filter) or 0)
  if count > 0 then
    redis.call('ZADD', KEYS[2], count, filter)
  else
    redis.call('ZREM', KEYS[2], filter)
  end
  if count ~= old then add(filter, count - old) end
end
return 1
"""
)

# KEYS: sum, that of a node, nodes. ARGV: that node, how many filters. -> 1 while there are more.
# A lease of 0 tells the node, should it come back, that some of what it has told is not there any more.
TAKE_OUT = Script(
    _ADD
    + """
local lease = redis.call('ZSCORE', KEYS[3], ARGV[1])
if not lease or tonumber(lease) >= tonumber(redis.call('TIME')[1]) then return 0 end
local taken = redis.call('ZPOPMIN', KEYS[2], ARGV[2])
if #taken == 0 then
  redis.call('ZREM', KEYS[3], ARGV[1])
  return 0
end
for i = 1, #taken, 2 do add(taken[i], -taken[i + 1]) end
redis.call('ZADD', KEYS[3], 0, ARGV[1])
return 1
"""
)


class TopicCount:
    """
    Tells Redis while it is started.

    :param node: nobody else's name, and the same after a restart, so that it finds what it has told.
    :param subscribers: what there is at this node.
    """

    _log = Logger()

    def __init__(self, door: Door, node: str, subscribers: SubscriberCounts, clock: IReactorTime) -> None:
        self._door = door
        self._node = node
        self._subscribers = subscribers
        self._own = OWN + node
        self._keys = SUM, self._own, NODES
        self._in_step = False  # whether what Redis has differs from what is here by what has changed only
        self._ticks = 0
        self._refused = False
        self._telling = LoopingCall(self._tick)
        self._telling.clock = clock
        subscribers.changed = set()

    def start(self) -> None:
        """Tell everything now, and from here on what changes."""
        self._telling.start(INTERVAL_S)

    def stop(self) -> None:
        """Tell nothing more. What was told stays until the lease ends, for a restart finds it right."""
        if self._telling.running:
            self._telling.stop()

    def _tick(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._tell()).addErrback(self._failed)

    async def _tell(self) -> None:
        gone: list[bytes] = []
        if not self._in_step or self._ticks % TICKS_PER_LEASE == 0:
            gone = await self._renew()
        self._ticks += 1
        if not self._in_step:
            await self._tell_all()
            self._in_step = True
        await self._tell_changed()
        for node in gone:
            await self._take_out(node)
        self._refused = False

    async def _renew(self) -> list[bytes]:
        """:return: the nodes that are no more."""
        whole, gone = await self._door.run(RENEW, self._keys, (self._node, LEASE_S, OWN))
        self._in_step &= bool(whole)
        return [node for node in gone if node != self._node.encode()]

    async def _tell_all(self) -> None:
        """First what this node once told and is not so any more, then all that is so."""
        self._changed.clear()
        cursor = b"0"
        while True:
            cursor, found = await self._door.call("ZSCAN", self._own, cursor, "COUNT", AT_ONCE)
            filters = [filter.decode() for filter in found[::2]]
            await self._say(filter for filter in filters if not self._subscribers.of(filter))
            if cursor == b"0":
                break
        for filters in _pieces(list(self._subscribers)):
            await self._say(filters)

    @property
    def _changed(self) -> set[str]:
        assert self._subscribers.changed is not None  # since the constructor
        return self._subscribers.changed

    async def _tell_changed(self) -> None:
        """Those that change meanwhile are left for the next time."""
        changed, self._subscribers.changed = self._changed, set()
        for filters in _pieces(list(changed)):
            await self._say(filters)

    async def _say(self, filters: Iterable[str]) -> None:
        """:raises RedisUnavailable: this node was taken out; everything is to be told anew."""
        words = [word for filter in filters for word in (filter, self._subscribers.of(filter))]
        if words and not await self._door.run(TELL, self._keys, (self._node, *words)):
            raise RedisUnavailable("another node has taken this one for dead")

    async def _take_out(self, node: bytes) -> None:
        keys = SUM, OWN.encode() + node, NODES
        while await self._door.run(TAKE_OUT, keys, (node, AT_ONCE)):
            pass

    def _failed(self, failure: Failure) -> None:
        """Tell everything when Redis is back: perhaps it has forgotten what it was told last."""
        self._in_step = False
        self._changed.clear()
        if failure.check(RedisUnavailable) is None:
            self._log.failure(FAILED, failure)
        elif failure.check(RedisRefused) and not self._refused:
            self._log.error("{what}: {why}", what=FAILED, why=failure.getErrorMessage())
        self._refused = failure.check(RedisRefused) is not None  # of others, the door has told in the log


def _pieces(filters: list[str]) -> Iterator[list[str]]:
    rest = iter(filters)
    while piece := list(islice(rest, AT_ONCE)):
        yield piece
