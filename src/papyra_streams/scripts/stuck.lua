-- with: giving
-- Gives entries that have been idle for too long to a consumer, whoever held them.
-- KEYS: the stream, the group's state, its pause.
-- ARGV: the group, the consumer, how many, the idle time and the pause in milliseconds.
-- Answers the entries. What a step looks at is bounded; where it ended, the group's next one goes on.
local stream, state, pause = KEYS[1], KEYS[2], KEYS[3]
local group, consumer, count, min_idle, pause_ms = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]

-- Up to so many, the server itself finds those that are idle, from the oldest on, in about a millisecond.
local FEW = 10000
-- Of more than that, a step is given so many rows to look through.
local ROWS, ROWS_OF_A_PAGE = 1000, 250

-- A server that is full refuses this, but not to claim, and acknowledging what was claimed is what helps it.
local paused = redis.pcall('SET', pause, '', 'NX', 'PX', pause_ms)
if not paused then
  return {}
end
if paused.err and not string.find(paused.err, 'OOM', 1, true) then
  return paused
end

local function search()
  local rows, looked_at = {}, 0
  local from = redis.call('HGET', state, 'scan')
  local first = from and from ~= '' and '(' .. from or '-'
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

local rows, ended
if summary[1] <= FEW then
  rows, ended = redis.call('XPENDING', stream, group, 'IDLE', min_idle, '-', '+', count), ''
else
  rows, ended = search()
end

local given = give(stream, group, consumer, rows)
if #rows > 0 then
  redis.call('DEL', pause)
elseif ended ~= '' then
  redis.call('PEXPIRE', pause, math.ceil(pause_ms / 10))
end
if (redis.call('HGET', state, 'scan') or '') ~= ended then
  redis.pcall('HSET', state, 'scan', ended)
end
return given
