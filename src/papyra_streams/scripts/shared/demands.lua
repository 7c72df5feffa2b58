-- with: ids
-- with: groups
-- What the groups of a stream still need, and when somebody was last heard of in them.

-- Holds what consumers have let go of; nobody speaks through it.
local RELEASED = 'papyra-streams:released'

-- For how many milliseconds no consumer of a group was heard of; nil if it has none.
local function silence_of(stream, name)
  local least
  for _, row in ipairs(redis.call('XINFO', 'CONSUMERS', stream, name)) do
    local consumer = properties(row)
    if consumer['name'] ~= RELEASED and (not least or consumer['idle'] < least) then
      least = consumer['idle']
    end
  end
  return least
end

-- A hash notes of each group that is behind: when that was first seen of it, and last, the last entry it had been given by
-- then, and the first it needed. Answers for how long nobody has been heard of since, for how long nobody has looked, and
-- what was needed; nil if that is not noted, or no longer so. What a server tells of its consumers means nothing after it was
-- away, or has taken another one's place: so it counts only if somebody looked in between, and not too rarely.
local function noted_silence(stream, notes, state, now, longest, needs)
  local note = redis.call('HGET', notes, state['name']) or ''
  local first, last, at, needed = string.match(note, '^(%d+) (%d+) (%S+) (%S+)$')
  if not first or at ~= state['last-delivered-id'] then
    return nil
  end
  -- No server counts an acknowledgement as a sign of life; what was needed and is not, though it is there, was acknowledged.
  if needed ~= needs and redis.call('XRANGE', stream, needed, needed)[1] then
    return nil
  end
  local noted, unseen, silence = now - tonumber(first), now - tonumber(last), silence_of(stream, state['name'])
  if unseen > longest or (silence and silence < noted) then
    return nil
  end
  return noted, unseen, needed
end

local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
