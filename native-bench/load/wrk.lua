-- Sends the requests of a file (u32 little-endian length, bytes) in turn, as they are, and reports one line of JSON.
-- The cost per request is one table look-up, so the generator stays far from its own limit.
local requests, at = {}, 0

function init(args)
  local file = assert(io.open(args[1], "rb"))
  local bytes = file:read("*a")
  file:close()
  local from = 1
  while from < #bytes do
    local a, b, c, d = bytes:byte(from, from + 3)
    local length = a + b * 256 + c * 65536 + d * 16777216
    requests[#requests + 1] = bytes:sub(from + 4, from + 3 + length)
    from = from + 4 + length
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    'RESULT {"answered":%d,"durationUs":%d,"failed":%d,"refused":%d,"p50Us":%d,"p99Us":%d,"p999Us":%d,"maxUs":%d}\n',
    summary.requests, summary.duration, e.connect + e.read + e.write + e.timeout, e.status,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9), latency.max))
end
