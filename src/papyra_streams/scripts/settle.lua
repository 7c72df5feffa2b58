-- with: holding
-- with: finishing
-- Acknowledges entries that a consumer holds, and saves how far the group has finished.
-- KEYS: the stream, the group's state.  ARGV: the group, the consumer, the ids in ascending order.
-- Answers those that are pending for nobody, and those that are another's.
local own, gone, taken = divide(KEYS[1], ARGV[1], ARGV[2], {unpack(ARGV, 3)})
if #own > 0 then
  redis.call('XACK', KEYS[1], ARGV[1], unpack(own))
  save_finished(KEYS[1], ARGV[1], KEYS[2])
end
return {gone, taken}
