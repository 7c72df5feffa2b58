-- with: ids
-- with: groups
-- Puts an entry of a quarantine back, and takes it out of there.
-- KEYS: the stream, the quarantine, and the state of the group that gave the entry up, if one did.
-- ARGV: the entry's id there, the consumer that is to hold it, how long it is to have been idle, in milliseconds, and, if
-- it was mended, its new data: it is appended anew then.
-- Answers nothing if it is not there, or how it came back and its id: "pending" for its group, or "appended" anew.
local stream, quarantine, state = KEYS[1], KEYS[2], KEYS[3]
local entry = redis.call('XRANGE', quarantine, ARGV[1], ARGV[1])[1]
if not entry then
  return {}
end

-- Lua passes fewer than 8000 arguments to one call.
local MOST_WORDS = 7900

local about, fields = {}, {}
for i = 1, #entry[2], 2 do
  local own = string.match(entry[2][i], '^field:(.*)$')
  if own then
    fields[#fields + 1] = own
    fields[#fields + 1] = entry[2][i + 1]
  else
    about[entry[2][i]] = entry[2][i + 1]
  end
end
if about['fields'] then
  fields = cmsgpack.unpack(about['fields'])
end

-- What is to be handled again is not finished: should the group be lost, it goes on before that.
local function unfinish(id)
  local known = state and redis.call('HGET', state, 'finished')
  if known and not older(known, id) then
    redis.call('HSET', state, 'finished', predecessor(id))
  end
end

-- Whether a group gets the entry under its old id.
local function is_pending(name, id)
  local group = name and group_of(stream, name)
  -- Anybody may have put anything into a quarantine.
  local held = group and redis.pcall('XRANGE', stream, id or '', id or '')
  if not held or held.err or not held[1] or held[1][1] ~= id then
    return false
  end
  unfinish(id)
  -- It still comes, or comes again anyway; nobody is to get it twice, nor to lose it.
  local comes = older(group['last-delivered-id'], id) or #redis.call('XPENDING', stream, name, id, id, 1) > 0
  if not comes then
    local given = {'IDLE', ARGV[3], 'RETRYCOUNT', 0, 'FORCE', 'JUSTID'}
    redis.call('XCLAIM', stream, name, ARGV[2], 0, id, unpack(given))
  end
  return true
end

-- Gives the entry its new data, in place of all it had of that name.
local function mend(data)
  local mended = {}
  for i = 1, #fields, 2 do
    if fields[i] ~= 'data' then
      mended[#mended + 1] = fields[i]
      mended[#mended + 1] = fields[i + 1]
    end
  end
  mended[#mended + 1] = 'data'
  mended[#mended + 1] = data
  fields = mended
end

local answer
if ARGV[4] then
  mend(ARGV[4])
end
if not ARGV[4] and is_pending(about['group'], about['id']) then
  answer = {'pending', about['id']}
else
  if #fields == 0 or #fields > MOST_WORDS then
    return redis.error_reply('ERR The entry in the quarantine has no fields, or too many, to be appended by a script')
  end
  local words = {'replay_of', about['id'] or ''}
  for i = 1, #fields, 2 do
    if fields[i] ~= 'replay_of' then
      words[#words + 1] = fields[i]
      words[#words + 1] = fields[i + 1]
    end
  end
  answer = {'appended', redis.call('XADD', stream, '*', unpack(words))}
end
redis.call('XDEL', quarantine, ARGV[1])
return answer
