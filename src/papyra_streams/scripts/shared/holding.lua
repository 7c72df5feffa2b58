-- Who holds an entry. A row is what XPENDING tells of one: its id, its consumer, the idle time, the deliveries so far.

-- Whether every id has a row; both are in ascending order. To tell takes half the time of looking each of them up.
local function has_all(rows, ids)
  local at = 1
  for _, row in ipairs(rows) do
    if row[1] == ids[at] then
      at = at + 1
    end
  end
  return at > #ids
end

-- Tells the entries that a consumer holds from those that are nobody's, and another's. Puts a row for each that it holds
-- into a table, if there is one. What is nobody's and was deleted from the stream is told as neither: the pending list has
-- lost it, and nobody else was given it.
-- The ids are in ascending order. The range finds all of them at once, unless the consumer holds many others in between.
local function divide(stream, group, consumer, ids, rows)
  local found = redis.call('XPENDING', stream, group, ids[1], ids[#ids], 2 * #ids, consumer)
  if not rows and has_all(found, ids) then
    return ids, {}, {}
  end
  local own, gone, taken = {}, {}, {}
  rows = rows or {}
  for _, row in ipairs(found) do
    rows[row[1]] = row
  end
  for _, id in ipairs(ids) do
    local row = rows[id] or redis.call('XPENDING', stream, group, id, id, 1)[1]
    if not row then
      if #redis.call('XRANGE', stream, id, id) > 0 then
        gone[#gone + 1] = id
      end
    elseif row[2] ~= consumer then
      taken[#taken + 1] = id
    else
      rows[id] = row
      own[#own + 1] = id
    end
  end
  return own, gone, taken
end
