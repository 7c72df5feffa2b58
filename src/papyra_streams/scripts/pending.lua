-- with: giving
-- Gives the first pending entries to a consumer, in their order, whoever holds them.
-- KEYS: the stream.
-- ARGV: the group, the consumer, the id to begin with, how many, how many to look at, then the ids that are left as they
-- are where the consumer holds them.
-- Answers the entries that the stream still has; and, if there may be more, the id of the last it looked at.
local stream, group, consumer, count, most = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[4]), tonumber(ARGV[5])
local is_left = {}
for i = 6, #ARGV do
  is_left[ARGV[i]] = true
end

local page = redis.call('XPENDING', stream, group, ARGV[3], '+', most)
local rows, last = {}, page[most] and page[most][1]
for _, row in ipairs(page) do
  if not (is_left[row[1]] and row[2] == consumer) then
    rows[#rows + 1] = row
  end
  if #rows == count then
    last = row[1]
    break
  end
end
return {hand_over(stream, group, consumer, rows), last}
