-- Reading entries a few at a time, since the server gives each out whole, whatever its size.
local ENTRIES_OF_A_PAGE = 5
local MOST_BYTES = 256 * 1024

-- Hands over the entries of a range, up to so many entries, or a few more than so many bytes; what that answers for one ends
-- it. Answers that, or the id of the last one if there may be more.
local function visit(stream, first, last, most, most_bytes, take)
  local count, bytes = 0, 0
  while true do
    local size = math.min(ENTRIES_OF_A_PAGE, most - count)
    local page = redis.call('XRANGE', stream, first, last, 'COUNT', size)
    for _, entry in ipairs(page) do
      local failed = take(entry)
      if failed then
        return failed
      end
      for _, word in ipairs(entry[2]) do
        bytes = bytes + #word
      end
    end
    count = count + #page
    if #page < size then
      return nil
    end
    if count == most or bytes > most_bytes then
      return page[#page][1]
    end
    first = '(' .. page[#page][1]
  end
end
