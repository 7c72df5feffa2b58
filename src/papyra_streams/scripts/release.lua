-- with: holding
-- Gives entries that a consumer holds to another one.
-- KEYS: the stream.
-- ARGV: the group, the consumer, the other, 1 if the last delivery counts, then the ids in ascending order, then for
-- each of them how many milliseconds it is to have been idle.
-- Answers those that are pending for nobody, and those that are another's.
local stream, group, consumer, to, counted = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1'
local size, ids, idle, rows = (#ARGV - 4) / 2, {}, {}, {}
for i = 1, size do
  ids[i] = ARGV[4 + i]
  idle[ids[i]] = ARGV[4 + size + i]
end
local own, gone, taken = divide(stream, group, consumer, ids, rows)
for _, id in ipairs(own) do
  local deliveries = counted and rows[id][4] or math.max(rows[id][4] - 1, 0)
  redis.call('XCLAIM', stream, group, to, 0, id, 'IDLE', idle[id], 'RETRYCOUNT', deliveries, 'JUSTID')
end
return {gone, taken}
