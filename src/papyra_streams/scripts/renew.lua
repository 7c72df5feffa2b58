-- with: holding
-- Begins the idle time of entries that a consumer holds anew.
-- KEYS: the stream.  ARGV: the group, the consumer, the ids in ascending order.
-- Answers those that are pending for nobody, and those that are another's.
local stream, group, consumer = KEYS[1], ARGV[1], ARGV[2]
local own, gone, taken = divide(stream, group, consumer, {unpack(ARGV, 3)})
if #own == 0 then
  return {gone, taken}
end
local words = {unpack(own)}
words[#words + 1] = 'JUSTID'
-- From 7.0 on, this takes what the stream no longer has off the pending list.
redis.call('XCLAIM', stream, group, consumer, 0, unpack(words))
return {gone, taken}
