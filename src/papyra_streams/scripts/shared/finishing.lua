-- with: ids
-- with: groups
-- How far a group has finished: every entry up to there was acknowledged. It is where a lost group goes on.

local function finished(stream, group)
  local oldest = redis.call('XPENDING', stream, group, '-', '+', 1)[1]
  if oldest then
    return predecessor(oldest[1])
  end
  return group_of(stream, group)['last-delivered-id']
end

local function save_finished(stream, group, state)
  redis.call('HSET', state, 'finished', finished(stream, group))
end
