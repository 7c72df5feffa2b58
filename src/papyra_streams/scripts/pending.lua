-- with: giving
-- Gives the first pending entries to a consumer, in their order, whoever holds them.
-- KEYS: the stream.  ARGV: the group, the consumer, the id to begin with, how many.
-- Answers the entries that the stream still has; and, if there may be more, the id of the last it looked at.
local rows = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], '+', ARGV[4])
local answer = {give(KEYS[1], ARGV[1], ARGV[2], rows)}
if #rows == tonumber(ARGV[4]) then
  answer[2] = rows[#rows][1]
end
return answer
