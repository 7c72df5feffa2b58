-- with: copies
-- Copies some more entries of a stream to another one, under their ids.
-- KEYS: the stream, the copy.
-- ARGV: 1 if the copy is there already, how many entries at most, and for how many milliseconds the copy is kept without a
-- further step.
-- Answers "gone" if the stream is not there, or the copy is no longer; otherwise "copied", 1 if the copy has all, and how
-- many entries the copy and the stream have.
local stream, copy = KEYS[1], KEYS[2]
if redis.call('EXISTS', stream) == 0 or (ARGV[1] == '1' and redis.call('EXISTS', copy) == 0) then
  return {'gone'}
end
local done = copy_entries(stream, copy, tonumber(ARGV[2]))
redis.call('PEXPIRE', copy, ARGV[3])
if done.err then
  return done
end
return {'copied', done.is_whole and 1 or 0, redis.call('XLEN', copy), redis.call('XLEN', stream)}
