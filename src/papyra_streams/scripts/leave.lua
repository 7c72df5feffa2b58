-- with: groups
-- Takes the lead from a consumer, and removes it from its group if it holds nothing.
-- KEYS: the stream, the group's leader.  ARGV: the group, the consumer, how long it must have been idle, in milliseconds.
-- Answers 1 if it is gone.
local stream, leader, group, name, idle = KEYS[1], KEYS[2], ARGV[1], ARGV[2], tonumber(ARGV[3])
if redis.call('GET', leader) == name then
  -- A leader's lease is a sign of life too, and ends by itself. (Redis 7.0 does not count a read that finds nothing.)
  if idle > 0 then
    return 0
  end
  -- It leads no more, whatever it still holds: the next leader takes that first.
  redis.call('DEL', leader)
end
for _, row in ipairs(group_of(stream, group) and redis.call('XINFO', 'CONSUMERS', stream, group) or {}) do
  local consumer = properties(row)
  if consumer['name'] == name then
    if consumer['pending'] > 0 or consumer['idle'] < idle then
      return 0
    end
    redis.call('XGROUP', 'DELCONSUMER', stream, group, name)
  end
end
return 1
