-- with: copying
-- with: groups
-- Takes entries out of a stream and off every group's pending list, copying each to a quarantine first.
-- KEYS: the stream, and the quarantine if there is one.  ARGV: the moment, then for each entry its id and the reason.
-- Answers the ids of those that were taken out.
local stream, quarantine = KEYS[1], KEYS[2]
if redis.call('EXISTS', stream) == 0 then
  return {}
end

local groups = {}
for _, row in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  local group = properties(row)
  -- Acknowledging would change nothing where nothing is pending.
  if group['pending'] > 0 then
    groups[#groups + 1] = group['name']
  end
end

-- The group that was given an entry most often, of those that have not acknowledged it, and how often that was.
local function whose(id)
  local group, attempts = '', 0
  for _, name in ipairs(groups) do
    local row = redis.call('XPENDING', stream, name, id, id, 1)[1]
    if row and row[4] >= attempts then
      group, attempts = name, row[4]
    end
  end
  return group, attempts
end

local ids = {}
for i = 2, #ARGV, 2 do
  local id = ARGV[i]
  local entry = redis.call('XRANGE', stream, id, id)[1]
  if entry then
    if quarantine then
      local about = {'source', stream, 'id', id, 'reason', ARGV[i + 1], 'timestamp', ARGV[1]}
      local group, attempts = whose(id)
      if group ~= '' then
        about[9], about[10], about[11], about[12] = 'group', group, 'attempts', attempts
      end
      add_copy(quarantine, about, entry[2])
    end
    ids[#ids + 1] = id
  end
end

for first = 1, #ids, MOST_ARGUMENTS do
  local last = math.min(first + MOST_ARGUMENTS - 1, #ids)
  for _, name in ipairs(groups) do
    redis.call('XACK', stream, name, unpack(ids, first, last))
  end
  redis.call('XDEL', stream, unpack(ids, first, last))
end
return ids
