-- with: groups
-- Tells how a group stands, at one moment.
-- KEYS: the stream.  ARGV: the group.
-- Answers the stream's length and last entry, the group's lag as the server counts it, how many entries are pending and
-- the oldest of them, the last it was given, and the server's clock; nil for what there is not.
local pending = redis.call('XPENDING', KEYS[1], ARGV[1])
local group = group_of(KEYS[1], ARGV[1])
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
return {
  redis.call('XLEN', KEYS[1]),
  newest and newest[1] or false,
  group['lag'] or false,
  pending[1],
  pending[2],
  group['last-delivered-id'],
  redis.call('TIME'),
}
