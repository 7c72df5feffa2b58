-- Gives entries to a consumer. The rows are XPENDING's.

-- Claims the entries that the words begin with, as the others say. Puts the fields of those that the stream still has
-- into a table.
local function claim(stream, group, consumer, words, fields)
  local claimed = redis.call('XCLAIM', stream, group, consumer, 0, unpack(words))
  for i = 1, #claimed do
    -- Redis 6.2 has nil here for an entry that was deleted, and leaves it pending for ever.
    if claimed[i] then
      fields[claimed[i][1]] = claimed[i][2]
    end
  end
end

-- Answers, for each entry that has fields: the id, the fields, the idle time it had, and how often it was delivered, with
-- those that are counted now. The others are taken off the pending list.
local function given(stream, group, rows, fields, counted)
  local answer = {}
  for _, row in ipairs(rows) do
    if fields[row[1]] then
      answer[#answer + 1] = {row[1], fields[row[1]], row[3], row[4] + counted}
    else
      redis.call('XACK', stream, group, row[1])
    end
  end
  return answer
end

-- Counts a delivery.
local function give(stream, group, consumer, rows)
  if #rows == 0 then
    return {}
  end
  local ids, fields = {}, {}
  for i, row in ipairs(rows) do
    ids[i] = row[1]
  end
  claim(stream, group, consumer, ids, fields)
  return given(stream, group, rows, fields, 1)
end

-- Counts none, but for those that were never delivered: their count is 1 from now on.
local function hand_over(stream, group, consumer, rows)
  local by_count, fields = {}, {}
  for _, row in ipairs(rows) do
    local count = math.max(row[4], 1)
    by_count[count] = by_count[count] or {}
    table.insert(by_count[count], row[1])
  end
  for count, words in pairs(by_count) do
    words[#words + 1] = 'RETRYCOUNT'
    words[#words + 1] = count
    claim(stream, group, consumer, words, fields)
  end
  return given(stream, group, rows, fields, 0)
end
