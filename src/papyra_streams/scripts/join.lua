-- with: finishing
-- Sees to it that a group is there, and that it is known how far it has finished.
-- KEYS: the stream, the group's state.
-- ARGV: the group, an id or "$" to begin after, what to do with a lost one, and 1 if it is expected to be there.
-- Answers whether it was found, created or restored, and after which entry it goes on.
local stream, state, name, start, on_loss, expected = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1'
local known = redis.call('HGET', state, 'finished')
local group = group_of(stream, name)
if group then
  if not known then
    save_finished(stream, name, state)
  end
  return {'found', group['last-delivered-id']}
end

local newest = '0-0'
if redis.call('EXISTS', stream) == 1 then
  newest = properties(redis.call('XINFO', 'STREAM', stream))['last-generated-id']
end

local how, after = 'created', start == '$' and newest or start
if expected or known then
  if on_loss == 'fail' then
    return redis.error_reply('NOGROUP The group that was there is lost')
  end
  -- What lies beyond the newest entry was finished in another stream, of the same name.
  local resumes = on_loss == 'resume' and known and not older(newest, known)
  how, after = 'restored', resumes and known or '0-0'
end
redis.call('XGROUP', 'CREATE', stream, name, after, 'MKSTREAM')
redis.call('HSET', state, 'finished', after, 'scan', '')
return {how, after}
