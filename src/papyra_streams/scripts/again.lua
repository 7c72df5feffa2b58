-- with: holding
-- with: giving
-- Gives entries that a consumer holds to it anew, and counts another delivery.
-- KEYS: the stream.  ARGV: the group, the consumer, the ids in ascending order.
-- Answers the entries that were its own.
local rows = {}
local own = divide(KEYS[1], ARGV[1], ARGV[2], {unpack(ARGV, 3)}, rows)
for i, id in ipairs(own) do
  own[i] = rows[id]
end
return give(KEYS[1], ARGV[1], ARGV[2], own)
