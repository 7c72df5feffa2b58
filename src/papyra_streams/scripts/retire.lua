-- Takes entries out of a stream and off every group's pending list, copying each to a quarantine first.
-- KEYS: the stream, and the quarantine if there is one.  ARGV: the moment, then for each entry its id and the reason.
-- Answers how many entries were taken out.
if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end

-- Lua passes fewer than 8000 arguments to one call.
local MOST_ARGUMENTS = 5000

-- Each field stands in its order behind "field:"; of an entry too wide for that, all are in "fields", as one MessagePack list.
local function copy_of(id, reason, fields)
  local copy = {'source', KEYS[1], 'id', id, 'reason', reason, 'timestamp', ARGV[1]}
  if #fields > MOST_ARGUMENTS then
    copy[#copy + 1] = 'fields'
    copy[#copy + 1] = cmsgpack.pack(fields)
    return copy
  end
  for i = 1, #fields, 2 do
    copy[#copy + 1] = 'field:' .. fields[i]
    copy[#copy + 1] = fields[i + 1]
  end
  return copy
end

local ids = {}
for i = 2, #ARGV, 2 do
  local entry = redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i])[1]
  if entry then
    if KEYS[2] then
      redis.call('XADD', KEYS[2], '*', unpack(copy_of(ARGV[i], ARGV[i + 1], entry[2])))
    end
    ids[#ids + 1] = ARGV[i]
  end
end

local groups = {}
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  for i = 1, #group, 2 do
    if group[i] == 'name' then
      groups[#groups + 1] = group[i + 1]
    end
  end
end

for first = 1, #ids, MOST_ARGUMENTS do
  local last = math.min(first + MOST_ARGUMENTS - 1, #ids)
  for _, name in ipairs(groups) do
    redis.call('XACK', KEYS[1], name, unpack(ids, first, last))
  end
  redis.call('XDEL', KEYS[1], unpack(ids, first, last))
end
return #ids
