-- with: copying
-- with: holding
-- with: finishing
-- Copies entries that a consumer holds whole to a quarantine, and acknowledges them. They stay in the stream.
-- KEYS: the stream, the group's state, the quarantine.
-- ARGV: the group, the consumer, the moment, then for each entry its id, the attempts, the reason and the error; the ids
-- are in ascending order.
-- Answers those that are pending for nobody, and those that are another's.
local stream, state, quarantine, group, consumer, moment = KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2], ARGV[3]
local ids, said = {}, {}
for i = 4, #ARGV, 4 do
  ids[#ids + 1] = ARGV[i]
  said[ARGV[i]] = {attempts = ARGV[i + 1], reason = ARGV[i + 2], error = ARGV[i + 3]}
end

local own, gone, taken = divide(stream, group, consumer, ids)
for _, id in ipairs(own) do
  local entry, about = redis.call('XRANGE', stream, id, id)[1], said[id]
  if entry then
    add_copy(quarantine, {
      'source', stream, 'id', id, 'reason', about.reason, 'timestamp', moment,
      'group', group, 'attempts', about.attempts, 'error', about.error,
    }, entry[2])
  end
end
if #own > 0 then
  redis.call('XACK', stream, group, unpack(own))
  save_finished(stream, group, state)
end
return {gone, taken}
