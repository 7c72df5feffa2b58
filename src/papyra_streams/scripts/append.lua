-- Appends a batch to a stream once, however often it is sent.
-- KEYS: the stream, the producer's mark.  ARGV: the batch's sequence, the mark's lifetime in seconds, the payloads.
-- Answers how many entries were appended: a count, because N ids cost the client more to parse than the batch to send.
local last = redis.call('GET', KEYS[2])
if last and tonumber(last) >= tonumber(ARGV[1]) then
  return 0
end
-- A script that fails midway is not undone. With the old value this changes nothing, but fails before an entry is added
-- where the user has no right to write the mark.
redis.call('SET', KEYS[2], last or '0', 'EX', ARGV[2])
for i = 3, #ARGV do
  redis.call('XADD', KEYS[1], '*', 'data', ARGV[i])
end
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2])
return #ARGV - 2
