-- Makes a consumer its group's leader on a stream, or lets it stay that.
-- KEYS: the stream, the group's leader.  ARGV: the group, the consumer, for how many milliseconds.
-- Answers 1 if it is the leader.
-- There is none without the group; this is an error where that is missing.
redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1)
local leader = redis.call('GET', KEYS[2])
if leader == ARGV[2] then
  return redis.call('PEXPIRE', KEYS[2], ARGV[3])
end
if leader then
  return 0
end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return 1
