-- with: pages
-- A copy of a stream that is being made beside it.

-- Lua passes fewer than 8000 arguments to one call.
local MOST_WORDS = 7900

local function edge(stream, command, first, last)
  local entry = redis.call(command, stream, first, last, 'COUNT', 1)[1]
  return entry and entry[1] or nil
end

local function oldest_id(stream)
  return edge(stream, 'XRANGE', '-', '+')
end

-- Adds what the copy lacks, up to so many entries. Answers whether it has all then, or an error.
local function copy_entries(stream, copy, most)
  local newest = edge(copy, 'XREVRANGE', '+', '-')
  local last = visit(stream, newest and '(' .. newest or '-', '+', most, MOST_BYTES, function(entry)
    local id, words = entry[1], entry[2]
    if #words > MOST_WORDS then
      return redis.error_reply('ERR The entry ' .. id .. ' has too many fields to be copied by a script')
    end
    redis.call('XADD', copy, id, unpack(words))
  end)
  if type(last) == 'table' then
    return last
  end
  return {is_whole = last == nil}
end
