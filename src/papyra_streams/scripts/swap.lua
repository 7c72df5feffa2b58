-- with: groups
-- with: copies
-- Puts a copy in its stream's place, with the stream's groups.
-- KEYS: the stream, the copy, and a key that is free.
-- ARGV: how many entries may still be copied, and how many may be pending.
-- Answers "swapped"; "gone" if one of them is not there; "behind" if the copy lacks more entries than that, "differs" if it
-- has others, or "pending" if there are more pending entries; nothing has changed then.
local stream, copy, former = KEYS[1], KEYS[2], KEYS[3]
local most_pending = tonumber(ARGV[2])
if redis.call('EXISTS', stream) == 0 or redis.call('EXISTS', copy) == 0 then
  return {'gone'}
end

-- A script that fails midway is not undone: who has no right to what comes last must fail before the copy loses its
-- lifetime, and before the stream has a new name.
redis.call('UNLINK', former)
redis.call('RENAME', copy, former)
redis.call('RENAME', former, copy)

local done = copy_entries(stream, copy, tonumber(ARGV[1]))
if done.err then
  return done
end
if not done.is_whole then
  return {'behind'}
end
-- Entries never change, and the copy has had all of them: where there are as many, they are the same.
if redis.call('XLEN', stream) ~= redis.call('XLEN', copy) or oldest_id(stream) ~= oldest_id(copy) then
  return {'differs'}
end

local groups, pending = redis.call('XINFO', 'GROUPS', stream), 0
for i, row in ipairs(groups) do
  groups[i] = properties(row)
  pending = pending + groups[i]['pending']
end
if pending > most_pending then
  return {'pending'}
end

local function keep_counters()
  local state = properties(redis.call('XINFO', 'STREAM', stream))
  local words = {state['last-generated-id']}
  -- From 7.0 on.
  if state['entries-added'] then
    words = {words[1], 'ENTRIESADDED', state['entries-added'], 'MAXDELETEDID', state['max-deleted-entry-id']}
  end
  redis.call('XSETID', copy, unpack(words))
end

local function create(group)
  local words = {group['last-delivered-id']}
  if group['entries-read'] then
    words = {words[1], 'ENTRIESREAD', group['entries-read']}
  end
  redis.call('XGROUP', 'CREATE', copy, group['name'], unpack(words))
  for _, row in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group['name'])) do
    redis.call('XGROUP', 'CREATECONSUMER', copy, group['name'], properties(row)['name'])
  end
end

-- Entries that were delivered together are claimed together.
local function claim(name, rows)
  local words = {}
  for i, row in ipairs(rows) do
    words[i] = row[1]
  end
  local like = {'IDLE', rows[1][3], 'RETRYCOUNT', rows[1][4], 'FORCE', 'JUSTID'}
  for _, word in ipairs(like) do
    words[#words + 1] = word
  end
  redis.call('XCLAIM', copy, name, rows[1][2], 0, unpack(words))
end

local function is_alike(a, b)
  return a[2] == b[2] and a[3] == b[3] and a[4] == b[4]
end

local ROWS_OF_A_PAGE = 1000
local function keep_pending(name)
  local first = '-'
  repeat
    local page = redis.call('XPENDING', stream, name, first, '+', ROWS_OF_A_PAGE)
    local alike = {}
    for _, row in ipairs(page) do
      if #alike > 0 and not is_alike(alike[1], row) then
        claim(name, alike)
        alike = {}
      end
      alike[#alike + 1] = row
    end
    if #alike > 0 then
      claim(name, alike)
      first = '(' .. page[#page][1]
    end
  until #page < ROWS_OF_A_PAGE
end

-- Of a swap that failed midway.
for _, row in ipairs(redis.call('XINFO', 'GROUPS', copy)) do
  redis.call('XGROUP', 'DESTROY', copy, properties(row)['name'])
end
keep_counters()
for _, group in ipairs(groups) do
  create(group)
  keep_pending(group['name'])
end
local lifetime = redis.call('PTTL', stream)
if lifetime >= 0 then
  redis.call('PEXPIRE', copy, lifetime)
else
  redis.call('PERSIST', copy)
end

redis.call('RENAME', stream, former)
redis.call('RENAME', copy, stream)
-- What takes long is done aside.
redis.call('UNLINK', former)
return {'swapped'}
