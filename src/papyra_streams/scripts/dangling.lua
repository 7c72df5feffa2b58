-- with: pages
-- Finds pending entries that the stream no longer has, and takes them off the list if asked to.
-- KEYS: the stream.  ARGV: the group, the id to begin with, how many rows to look at, and 1 to take them off.
-- Answers their ids, how many rows it looked at, and the last of those if there may be more.
local stream, group, most = KEYS[1], ARGV[1], tonumber(ARGV[3])
local page = redis.call('XPENDING', stream, group, ARGV[2], '+', most)
local gone, examined, bytes = {}, 0, 0
for i, row in ipairs(page) do
  local entry = redis.call('XRANGE', stream, row[1], row[1])[1]
  examined = i
  if not entry then
    gone[#gone + 1] = row[1]
  end
  for _, word in ipairs(entry and entry[2] or {}) do
    bytes = bytes + #word
  end
  if bytes > MOST_BYTES then
    break
  end
end
if ARGV[4] == '1' and #gone > 0 then
  redis.call('XACK', stream, group, unpack(gone))
end
local is_last = examined < most and examined == #page
return {gone, examined, not is_last and page[examined][1] or nil}
