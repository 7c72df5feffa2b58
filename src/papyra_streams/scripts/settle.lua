-- with: holding
-- with: finishing
-- Acknowledges entries that a consumer holds, and saves how far the group has finished.
-- KEYS: the stream, the group's state.  ARGV: the group, the consumer, the ids in ascending order.
-- Answers those that are pending for nobody though the stream has them, and those that are another's.
local own, gone, taken = divide(KEYS[1], ARGV[1], ARGV[2], {unpack(ARGV, 3)})
if #own > 0 then
  redis.call('XACK', KEYS[1], ARGV[1], unpack(own))
  save_finished(KEYS[1], ARGV[1], KEYS[2])
end
-- To renew the lease of an entry that was deleted takes it off the pending list: nobody else has it then.
local there = {}
for _, id in ipairs(gone) do
  if #redis.call('XRANGE', KEYS[1], id, id) > 0 then
    there[#there + 1] = id
  end
end
return {there, taken}
