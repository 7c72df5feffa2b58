-- with: copying
-- with: groups
-- Takes entries out of a stream and off every group's pending list, copying each to a quarantine first.
-- KEYS: the stream, and the quarantine if there is one.  ARGV: the moment, then for each entry its id and the reason.
-- Answers how many entries were taken out.
if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end

local ids = {}
for i = 2, #ARGV, 2 do
  local entry = redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i])[1]
  if entry then
    if KEYS[2] then
      local about = {'source', KEYS[1], 'id', ARGV[i], 'reason', ARGV[i + 1], 'timestamp', ARGV[1]}
      add_copy(KEYS[2], about, entry[2])
    end
    ids[#ids + 1] = ARGV[i]
  end
end

local groups = {}
for i, row in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  groups[i] = properties(row)['name']
end

for first = 1, #ids, MOST_ARGUMENTS do
  local last = math.min(first + MOST_ARGUMENTS - 1, #ids)
  for _, name in ipairs(groups) do
    redis.call('XACK', KEYS[1], name, unpack(ids, first, last))
  end
  redis.call('XDEL', KEYS[1], unpack(ids, first, last))
end
return #ids
