-- Who holds an entry. A row is what XPENDING tells of one: its id, its consumer, the idle time, the deliveries so far.

-- Tells the entries that a consumer holds, with a row for each, from those that are nobody's, and another's.
-- The ids are in ascending order. The range finds all of them at once, unless the consumer holds many others in between.
local function divide(stream, group, consumer, ids)
  local rows, own, gone, taken = {}, {}, {}, {}
  for _, row in ipairs(redis.call('XPENDING', stream, group, ids[1], ids[#ids], 2 * #ids, consumer)) do
    rows[row[1]] = row
  end
  for _, id in ipairs(ids) do
    local row = rows[id] or redis.call('XPENDING', stream, group, id, id, 1)[1]
    if not row then
      gone[#gone + 1] = id
    elseif row[2] ~= consumer then
      taken[#taken + 1] = id
    else
      rows[id] = row
      own[#own + 1] = id
    end
  end
  return own, gone, taken, rows
end
