-- with: copies
-- Takes out of a copy what its stream has lost since, some entries at a time.
-- KEYS: the stream, the copy.
-- ARGV: the id after which to begin, or "", how many entries to look at, and for how many milliseconds the copy is kept.
-- Answers "gone" if one of them is not there, or "stale" if the copy lacks an entry that is older than its newest one;
-- otherwise "compared", and the last id it looked at if there may be more.
local stream, copy = KEYS[1], KEYS[2]
if redis.call('EXISTS', stream) == 0 or redis.call('EXISTS', copy) == 0 then
  return {'gone'}
end
redis.call('PEXPIRE', copy, ARGV[3])

local start, ids = ARGV[1] == '' and '-' or '(' .. ARGV[1], {}
local last = visit(copy, start, '+', tonumber(ARGV[2]), MOST_BYTES, function(entry)
  ids[#ids + 1] = entry[1]
end)
if #ids == 0 then
  return {'compared'}
end

-- All of them, and one more than there may be: then one of them is not in the copy.
local is_there, count = {}, 0
visit(stream, start, ids[#ids], #ids + 1, math.huge, function(entry)
  is_there[entry[1]] = true
  count = count + 1
end)
local lost = {}
for _, id in ipairs(ids) do
  if is_there[id] then
    count = count - 1
  else
    lost[#lost + 1] = id
  end
end
if count > 0 then
  return {'stale'}
end
if #lost > 0 then
  redis.call('XDEL', copy, unpack(lost))
end
return {'compared', last}
