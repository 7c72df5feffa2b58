-- Appends those records of a batch that are not in the stream yet, however often and however divided they are sent.
-- KEYS: the stream, the producer's mark, which holds the number of the producer's last record in the stream.
-- ARGV: the number of the batch's first record, the mark's lifetime in seconds, the payloads.
-- Answers how many entries were appended: a count, because N ids cost the client more to parse than the batch to send.
local first, lifetime, size = tonumber(ARGV[1]), ARGV[2], #ARGV - 2
local last = redis.call('GET', KEYS[2]) or '0'
-- A script that fails midway is not undone. With the old value this adds nothing, but fails before an entry is added
-- where the user has no right to write the mark. Where nothing is left to add, it renews the mark, and is the write that
-- a WAIT or WAITAOF after this script waits for.
redis.call('SET', KEYS[2], last, 'EX', lifetime)
local known = math.min(math.max(tonumber(last) - first + 1, 0), size)
if known == size then
  return 0
end
for i = 3 + known, #ARGV do
  redis.call('XADD', KEYS[1], '*', 'data', ARGV[i])
end
-- As text, Lua would give 1e+15 for a large number.
redis.call('SET', KEYS[2], string.format('%.0f', first + size - 1), 'EX', lifetime)
return size - known
