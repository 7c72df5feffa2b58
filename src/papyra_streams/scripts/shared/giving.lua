-- Gives entries to a consumer, and counts a delivery.

-- The rows are XPENDING's. Answers, for each entry: the id, the fields, the idle time it had, and which delivery this is.
local function give(stream, group, consumer, rows)
  if #rows == 0 then
    return {}
  end
  local ids, fields = {}, {}
  for i, row in ipairs(rows) do
    ids[i] = row[1]
  end
  local claimed = redis.call('XCLAIM', stream, group, consumer, 0, unpack(ids))
  for i = 1, #claimed do
    -- Redis 6.2 has nil here for an entry that was deleted, and leaves it pending for ever.
    if claimed[i] then
      fields[claimed[i][1]] = claimed[i][2]
    end
  end
  local given = {}
  for _, row in ipairs(rows) do
    if fields[row[1]] then
      given[#given + 1] = {row[1], fields[row[1]], row[3], row[4] + 1}
    else
      redis.call('XACK', stream, group, row[1])
    end
  end
  return given
end
