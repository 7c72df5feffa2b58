-- with: groups
-- Removes a consumer that holds nothing from its group.
-- KEYS: the stream, the group's leader.  ARGV: the group, the consumer, how long it must have been idle, in milliseconds.
-- Answers 1 if it is gone.
local stream, leader, group, name = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
-- A leader's lease is a sign of life too, and ends by itself. (Redis 7.0 does not count a read that finds nothing.)
if tonumber(ARGV[3]) > 0 and redis.call('GET', leader) == name then
  return 0
end
for _, row in ipairs(group_of(stream, group) and redis.call('XINFO', 'CONSUMERS', stream, group) or {}) do
  local consumer = properties(row)
  if consumer['name'] == name then
    if consumer['pending'] > 0 or consumer['idle'] < tonumber(ARGV[3]) then
      return 0
    end
    redis.call('XGROUP', 'DELCONSUMER', stream, group, name)
  end
end
if redis.call('GET', leader) == name then
  redis.call('DEL', leader)
end
return 1
