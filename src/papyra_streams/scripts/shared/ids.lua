-- Ids of entries. Both parts are 64 bit integers, wider than a number of Lua's: they are compared and counted as digits.
local LARGEST_PART = '18446744073709551615'

local function split(id)
  return string.match(id, '^(%d+)-(%d+)$')
end

local function smaller(a, b)
  if #a ~= #b then
    return #a < #b
  end
  return a < b
end

local function older(a, b)
  local a_time, a_sequence = split(a)
  local b_time, b_sequence = split(b)
  if a_time ~= b_time then
    return smaller(a_time, b_time)
  end
  return smaller(a_sequence, b_sequence)
end

local function one_more(digits)
  local head, digit, nines = string.match('0' .. digits, '^(%d*)([0-8])(9*)$')
  return string.match(head .. digit + 1 .. string.rep('0', #nines), '^0*(%d+)$')
end

local function one_less(digits)
  local head, digit, zeros = string.match(digits, '^(%d*)([1-9])(0*)$')
  return string.match(head .. digit - 1 .. string.rep('9', #zeros), '^0*(%d+)$')
end

-- The first id after this one.
local function successor(id)
  local time, sequence = split(id)
  if sequence ~= LARGEST_PART then
    return time .. '-' .. one_more(sequence)
  end
  return time == LARGEST_PART and id or one_more(time) .. '-0'
end

-- The last id before this one.
local function predecessor(id)
  local time, sequence = split(id)
  if sequence ~= '0' then
    return time .. '-' .. one_less(sequence)
  end
  return time == '0' and id or one_less(time) .. '-' .. LARGEST_PART
end
