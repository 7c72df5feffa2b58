-- Copying an entry whole to a quarantine.

-- Lua passes fewer than 8000 arguments to one call.
local MOST_ARGUMENTS = 5000

-- Adds an entry's fields to what the copy says about it. Each stands in its order behind "field:"; of an entry too wide
-- for that, all are in "fields", as one MessagePack list.
local function add_copy(quarantine, about, fields)
  if #fields > MOST_ARGUMENTS then
    about[#about + 1] = 'fields'
    about[#about + 1] = cmsgpack.pack(fields)
    fields = {}
  end
  for i = 1, #fields, 2 do
    about[#about + 1] = 'field:' .. fields[i]
    about[#about + 1] = fields[i + 1]
  end
  redis.call('XADD', quarantine, '*', unpack(about))
end
