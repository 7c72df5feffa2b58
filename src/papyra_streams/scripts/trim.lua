-- with: demands
-- Removes old entries from a stream, but none that a group has yet to be given or to acknowledge.
-- KEYS: the stream; and, if there are groups that do not count, the notes of groups that are behind.
-- ARGV: the oldest entry to keep, "~" or "="; and, in the same case, for how many milliseconds nobody was heard of in such
-- groups.
-- Answers how many entries went; 1 if there is more to be done; the server's clock in milliseconds; the groups that did not
-- count, and lost something; and, if a group kept some of the others, its name, the entry it needs, and who holds that (""
-- if nobody was given it).
local stream, notes, keep_from, exactness, longest_silence = KEYS[1], KEYS[2], ARGV[1], ARGV[2], tonumber(ARGV[3] or '')
local now = clock()
if redis.call('EXISTS', stream) == 0 then
  return {0, 0, now, {}}
end

-- Others wait for the end of this step, so that it is bounded: two to three milliseconds.
local CALLS = 3
local references_left = 500

local function exists(first, last)
  return redis.call('XRANGE', stream, first, last, 'COUNT', 1)[1] ~= nil
end

-- The first entry that a group needs, whether the stream has it or not, and who holds it.
local function next_needed(name, state)
  local row = redis.call('XPENDING', stream, name, '-', '+', 1)[1]
  if row then
    return row[1], row[2]
  end
  return successor(state['last-delivered-id']), ''
end

-- Takes off a group's pending list what the stream no longer has, as XAUTOCLAIM does from 7.0 on. Answers what it needs then.
local function forget_deleted(name, state)
  local needs, consumer = next_needed(name, state)
  while consumer ~= '' and references_left > 0 and not exists(needs, needs) do
    redis.call('XACK', stream, name, needs)
    references_left = references_left - 1
    needs, consumer = next_needed(name, state)
  end
  return needs, consumer
end

-- Whether nobody was heard of for too long in a group that is behind; or an error.
local function is_abandoned(state, needs)
  local noted, unseen, needed = noted_silence(stream, notes, state, now, longest_silence, needs)
  if not noted or needed ~= needs or unseen > longest_silence / 10 then
    -- As text, Lua would give 1.7e+12.
    local note = string.format('%.0f %.0f %s %s', now - (noted or 0), now, state['last-delivered-id'], needs)
    local said = redis.pcall('HSET', notes, state['name'], note)
    -- A server that is full refuses this, and the trim is what helps it.
    if type(said) == 'table' and said.err and not string.find(said.err, 'OOM', 1, true) then
      return said
    end
  end
  return noted ~= nil and noted >= longest_silence
end

local floor, holder, consumer, abandoned, is_behind = keep_from, nil, nil, {}, {}
for _, row in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  local state = properties(row)
  local name = state['name']
  local needs, owner = forget_deleted(name, state)
  if older(needs, keep_from) and exists(needs, '(' .. keep_from) then
    is_behind[name] = true
    local gives_up = longest_silence and is_abandoned(state, needs)
    if type(gives_up) == 'table' then
      return gives_up
    elseif gives_up then
      local first = redis.call('XRANGE', stream, needs, '+', 'COUNT', 1)[1][1]
      abandoned[#abandoned + 1] = {name = name, state = state, first = first}
    elseif older(needs, floor) then
      floor, holder, consumer = needs, name, owner
    end
  end
end
-- Who has caught up begins anew.
for _, name in ipairs(longest_silence and redis.call('HKEYS', notes) or {}) do
  if not is_behind[name] then
    redis.call('HDEL', notes, name)
  end
end

local removed, last, calls = 0, nil, 0
repeat
  -- Without a limit of ours, the server's own one fits the size of its nodes.
  last = redis.call('XTRIM', stream, 'MINID', '~', floor)
  removed, calls = removed + last, calls + 1
until last == 0 or calls == CALLS
if last == 0 and exactness == '=' then
  removed = removed + redis.call('XTRIM', stream, 'MINID', '=', floor)
end

local losers = {}
for _, group in ipairs(abandoned) do
  if not exists(group.first, group.first) then
    losers[#losers + 1] = group.name
    forget_deleted(group.name, group.state)
  end
end

local answer = {removed, (last > 0 or references_left == 0) and 1 or 0, now, losers}
local kept = holder and redis.call('XRANGE', stream, floor, '(' .. keep_from, 'COUNT', 1)[1]
if kept then
  answer[5], answer[6], answer[7] = holder, kept[1], consumer
end
return answer
