-- with: ids
-- with: groups
-- Removes old entries from a stream, but none that a group has yet to be given or to acknowledge.
-- KEYS: the stream.  ARGV: the oldest entry to keep, and "~" or "=".
-- Answers how many entries went, and 1 if there is more to be done; and, if a group kept some of the others, its name
-- and the entry it needs.
if redis.call('EXISTS', KEYS[1]) == 0 then
  return {0, 0}
end

-- An entry that was deleted cannot be handed out again: it is taken off the pending list, as XAUTOCLAIM does from 7.0 on.
-- That is bounded, as every step is.
local references_left = 1000
local function oldest_pending(group)
  local pending = redis.call('XPENDING', KEYS[1], group)
  while pending[1] > 0 and references_left > 0 and not redis.call('XRANGE', KEYS[1], pending[2], pending[2])[1] do
    redis.call('XACK', KEYS[1], group, pending[2])
    references_left = references_left - 1
    pending = redis.call('XPENDING', KEYS[1], group)
  end
  return pending[1] > 0 and pending[2]
end

local floor, holder = ARGV[1], nil
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local state = properties(group)
  local needs = oldest_pending(state['name']) or successor(state['last-delivered-id'])
  if older(needs, floor) then
    floor, holder = needs, state['name']
  end
end

local answer = {redis.call('XTRIM', KEYS[1], 'MINID', ARGV[2], floor), references_left == 0 and 1 or 0}
local kept = holder and redis.call('XRANGE', KEYS[1], floor, '(' .. ARGV[1], 'COUNT', 1)[1]
if kept then
  answer[3], answer[4] = holder, kept[1]
end
return answer
