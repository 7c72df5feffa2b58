-- with: demands
-- Tells what every group of a stream still needs; writes nothing.
-- KEYS: the stream; and, if there are groups that do not count, the notes of groups that are behind.
-- ARGV: in the same case, for how many milliseconds nobody was heard of in such groups.
-- Answers the server's clock in milliseconds; then for each group its name, the oldest entry it has yet to be given or to
-- acknowledge ("" if it has had everything), who holds that ("" if nobody was given it), for how many milliseconds nobody
-- was heard of (false if it has no consumer), and 1 if it does not count.
local stream, notes, longest_silence, now = KEYS[1], KEYS[2], tonumber(ARGV[1] or ''), clock()
local answer = {now}
if redis.call('EXISTS', stream) == 0 then
  return answer
end

-- What is pending and was deleted is needed by nobody. So many of them are looked through; what comes next counts as needed.
local MOST_REFERENCES = 500

local function first_needed(name, state)
  local page = redis.call('XPENDING', stream, name, '-', '+', MOST_REFERENCES)
  for i, row in ipairs(page) do
    if i == MOST_REFERENCES or redis.call('XRANGE', stream, row[1], row[1])[1] then
      return row[1], row[2]
    end
  end
  local entry = redis.call('XRANGE', stream, successor(state['last-delivered-id']), '+', 'COUNT', 1)[1]
  return entry and entry[1] or '', ''
end

for _, row in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  local state = properties(row)
  local name = state['name']
  local needs, consumer = first_needed(name, state)
  -- What a trim notes of what nobody was given yet is the id it comes after.
  local noted_as = consumer ~= '' and needs or successor(state['last-delivered-id'])
  local noted = longest_silence and noted_silence(stream, notes, state, now, longest_silence, noted_as) or 0
  local is_abandoned = longest_silence and noted >= longest_silence
  answer[#answer + 1] = {name, needs, consumer, silence_of(stream, name) or false, is_abandoned and 1 or 0}
end
return answer
