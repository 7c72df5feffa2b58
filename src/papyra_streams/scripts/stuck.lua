-- with: giving
-- Gives entries that have been idle for too long to a consumer, whoever held them.
-- KEYS: the stream, the group's state, its pause.
-- ARGV: the group, the consumer, how many, the idle time and the pause in milliseconds, and, where a search goes on, the
-- two words with which the last step answered.
-- Answers the entries; or, if it found none and has not come round, the id it has come to, and where it began if that was
-- not at the oldest.
local stream, state, pause = KEYS[1], KEYS[2], KEYS[3]
local group, consumer, count, min_idle, pause_ms = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local reached, began = ARGV[6], ARGV[7]

-- Up to so many, the server itself finds those that are idle, from the oldest on, in about a millisecond.
local FEW = 10000
-- Of more than that, a step looks through so many rows, which takes about as long.
local ROWS, ROWS_OF_A_PAGE = 1000, 250

-- A server that is full refuses this, but not to claim, and acknowledging what was claimed is what helps it.
local paused = redis.pcall('SET', pause, consumer, 'NX', 'PX', pause_ms)
if not paused and not (reached and redis.call('GET', pause) == consumer) then
  return {{}}
end
if paused and paused.err and not string.find(paused.err, 'OOM', 1, true) then
  return paused
end

local function search(from)
  local rows, looked_at = {}, 0
  local first = from ~= '' and '(' .. from or '-'
  while looked_at < ROWS do
    local page = redis.call('XPENDING', stream, group, first, '+', ROWS_OF_A_PAGE)
    for _, row in ipairs(page) do
      if row[3] >= min_idle then
        rows[#rows + 1] = row
      end
      if #rows == count then
        return rows, row[1]
      end
    end
    if #page < ROWS_OF_A_PAGE then
      return rows, ''
    end
    looked_at = looked_at + #page
    first = '(' .. page[#page][1]
  end
  return rows, string.sub(first, 2)
end

local summary = redis.pcall('XPENDING', stream, group)
if summary.err then
  redis.call('DEL', pause)
  return summary
end

local scan = redis.call('HGET', state, 'scan') or ''
local are_few, rows, ended = summary[1] <= FEW, nil, nil
if are_few then
  rows = redis.call('XPENDING', stream, group, 'IDLE', min_idle, reached and '(' .. reached or '-', '+', count)
  began, ended = began or '', rows[count] and rows[count][1] or ''
else
  rows, ended = search(reached or scan)
  began = began or scan
end

-- Of these the stream may have none any more.
local given = give(stream, group, consumer, rows)
local next_scan = are_few and '' or ended
if scan ~= next_scan then
  redis.pcall('HSET', state, 'scan', next_scan)
end
if #given > 0 then
  redis.call('DEL', pause)
  return {given}
end
if ended ~= '' then
  return {given, ended, began}
end
if began ~= '' then
  return {given, '0-0', ''}
end
redis.call('PEXPIRE', pause, pause_ms)
return {given}
