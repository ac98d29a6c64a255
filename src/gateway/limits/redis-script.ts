/**
 * The decision of a request in Redis: GCRA (access/gcra-table.ts) over all of its windows, all or none, as one script.
 * So it is exact for all hosts, and its clock is that of the server.
 *
 * Times are ticks of a 16th of a microsecond since 2026: whole numbers, which Lua's doubles hold exactly until 2043. A
 * window that is forgiven is gone from Redis. A tat that lies further ahead than it can was made under a clock that was
 * set since, or under another limit: it counts as full from now on.
 */
const TICKS_PER_S = 16e6;
export const TICKS_PER_MS: number = TICKS_PER_S / 1000;
export const NS_PER_TICK: number = 1e9 / TICKS_PER_S;
const BEGIN_S = Date.UTC(2026, 0) / 1000;

/** Rounded up, so that never more passes than was said. */
export const intervalTicksOf = ({ limit, windowS }: { readonly limit: number; readonly windowS: number }): number =>
  Math.ceil((windowS * TICKS_PER_S) / limit);

/**
 * KEYS: a name per window. ARGV: interval in ticks and burst of each. Returns the window that refuses, from 0 on, or
 * -1, and of each window how far its tat lies ahead, in ticks.
 */
export const script = `
local time = redis.call('TIME')
local now = (time[1] - ${BEGIN_S}) * ${TICKS_PER_S} + time[2] * ${TICKS_PER_S / 1e6}
local held = redis.call('MGET', unpack(KEYS))
local full = -1
local tats = {}
for i = 1, #KEYS do
  local interval = tonumber(ARGV[2 * i - 1])
  local reach = interval * tonumber(ARGV[2 * i])
  local tat = held[i] and tonumber(held[i]) or now
  if tat > now + reach then
    tat = now + reach
    redis.call('SET', KEYS[i], string.format('%.0f', tat), 'PX', math.ceil(reach / ${TICKS_PER_MS}))
  end
  tat = math.max(now, tat)
  if full < 0 and tat + interval > now + reach then full = i - 1 end
  tats[i] = tat
end
local reply = {full}
for i = 1, #KEYS do
  if full < 0 then
    tats[i] = tats[i] + tonumber(ARGV[2 * i - 1])
    local ms = math.ceil((tats[i] - now) / ${TICKS_PER_MS})
    redis.call('SET', KEYS[i], string.format('%.0f', tats[i]), 'PX', ms)
  end
  reply[i + 1] = tats[i] - now
end
return reply
`;
