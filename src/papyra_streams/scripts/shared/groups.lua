-- What XINFO tells of a stream's groups.

-- The properties in one of XINFO's answers, by their names.
local function properties(row)
  local found = {}
  for i = 1, #row, 2 do
    found[row[i]] = row[i + 1]
  end
  return found
end

-- A group's properties, or nil.
local function group_of(stream, name)
  if redis.call('EXISTS', stream) == 0 then
    return nil
  end
  for _, row in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local group = properties(row)
    if group['name'] == name then
      return group
    end
  end
  return nil
end
