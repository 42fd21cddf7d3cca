// What has to happen in Redis in one step, in its own language. Every script touches one key, and so one slot.

/** The time of the server, which all who share it share. Microseconds, which Lua still counts exactly. */
const microseconds = `
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
`

/** Puts ARGV value, ttl; tells ARGV channel. With `NX` only where nothing is. Returns 1 if it did. */
export const put = `
local done
if ARGV[4] == 'NX' then
  done = redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2], 'NX')
else
  done = redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
if not done then return 0 end
redis.call('PUBLISH', ARGV[3], '')
return 1
`

/** Deletes; tells ARGV channel. */
export const remove = `
redis.call('DEL', KEYS[1])
redis.call('PUBLISH', ARGV[1], '')
return 1
`

/** How long the last fence of a lease is remembered after its end, should the clock of the server go back. */
const remembered = 600_000

/**
 * Takes a lease for ARGV ttl; returns its fence, or 0 while somebody has it. Fences are times, so that they grow even
 * when nothing is left of an earlier lease.
 */
export const take = `${microseconds}
local last = redis.call('HMGET', KEYS[1], 'fence', 'until')
if (tonumber(last[2]) or 0) > now then return 0 end
local fence = math.max(now, (tonumber(last[1]) or 0) + 1)
local over = string.format('%.0f', now + ARGV[1] * 1000)
redis.call('HSET', KEYS[1], 'fence', string.format('%.0f', fence), 'until', over)
redis.call('PEXPIRE', KEYS[1], ARGV[1] + ${remembered})
return fence
`

/** Holds the lease of ARGV fence for another ARGV ttl; returns 0 when it was lost. */
export const renew = `${microseconds}
local last = redis.call('HMGET', KEYS[1], 'fence', 'until')
if last[1] ~= ARGV[1] or (tonumber(last[2]) or 0) <= now then return 0 end
redis.call('HSET', KEYS[1], 'until', string.format('%.0f', now + ARGV[2] * 1000))
redis.call('PEXPIRE', KEYS[1], ARGV[2] + ${remembered})
return 1
`

/** Gives the lease of ARGV fence back, if it is still held; tells ARGV channel. */
export const release = `
if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'until', '0')
redis.call('PUBLISH', ARGV[2], '')
return 1
`

/** Adds ARGV points to a counter, which ends ARGV ttl after it began; returns what it stands at and what is left of it. */
export const count = `
local total = redis.call('INCRBY', KEYS[1], ARGV[1])
local left = redis.call('PTTL', KEYS[1])
if left < 0 then
  left = tonumber(ARGV[2])
  redis.call('PEXPIRE', KEYS[1], left)
end
return { total, left }
`

/** Adds ARGV entry for ARGV ttl to a stream, and clears away the oldest that are over: more than it can leave behind. */
export const append = `${microseconds}
for _, one in ipairs(redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 16)) do
  if (tonumber(one[2][4]) or 0) > now then break end
  redis.call('XDEL', KEYS[1], one[1])
end
local over = string.format('%.0f', now + ARGV[2] * 1000)
redis.call('XADD', KEYS[1], '*', 'entry', ARGV[1], 'until', over)
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 1
`

/**
 * The entries of a stream after ARGV cursor that are not over, at most ARGV size, and where they end. Where there is no
 * entry at the cursor any more, it begins anew: after a fail-over that lost the last entries, those of a server whose clock
 * is behind come before what was read.
 */
export const since = `${microseconds}
local size = tonumber(ARGV[2])
local last = ARGV[1]
local entries = {}
if last ~= '' and #redis.call('XRANGE', KEYS[1], last, last) == 0 then last = '' end
repeat
  local page = redis.call('XRANGE', KEYS[1], last == '' and '-' or '(' .. last, '+', 'COUNT', size)
  for _, one in ipairs(page) do
    if #entries == size then break end
    last = one[1]
    if (tonumber(one[2][4]) or 0) > now then entries[#entries + 1] = one[2][2] end
  end
until #page < size or #entries == size
return { last, entries }
`
