-- with: pages
-- Counts the entries of a stream between two ids, some at a time; writes nothing.
-- KEYS: the stream.  ARGV: the id to begin with, the one before which to end, and how many to count at most.
-- Answers how many there were in this step, and the last one if there may be more.
local count = 0
local last = visit(KEYS[1], ARGV[1], '(' .. ARGV[2], tonumber(ARGV[3]), MOST_BYTES, function()
  count = count + 1
end)
return {count, last}
