-- Asks whether the server counts a group's lag, by a group that is gone again when the script ends.
-- KEYS: a key that is not there.
redis.call('XGROUP', 'CREATE', KEYS[1], 'probe', '0', 'MKSTREAM')
local group = redis.call('XINFO', 'GROUPS', KEYS[1])[1]
redis.call('DEL', KEYS[1])
for i = 1, #group, 2 do
  if group[i] == 'lag' then
    return 1
  end
end
return 0
