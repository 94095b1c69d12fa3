-- wrk script: POSTs the bodies in the directory BODIES (1, 2, 3 … COUNT) again and again, each thread from another one on.
-- Also PATH_, CONTENT_TYPE and ACCEPT by environment. Prints one line of JSON at the end.
local requests, at, threads = {}, 0, 0

function setup(thread)
  threads = threads + 1
  thread:set("number", threads)
end

function init()
  local headers = { ["Content-Type"] = os.getenv("CONTENT_TYPE"), ["Accept"] = os.getenv("ACCEPT") }
  local count = tonumber(os.getenv("COUNT"))
  for n = 1, count do
    local file = assert(io.open(os.getenv("BODIES") .. "/" .. n, "rb"))
    requests[n] = wrk.format("POST", os.getenv("PATH_"), headers, file:read("*a"))
    file:close()
  end
  at = math.floor(count * (number - 1) / 4)
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'JSON {"per_s":%.1f,"p50_ms":%.3f,"p99_ms":%.3f,"max_ms":%.2f,"requests":%d,"bad":%d}\n',
    summary.requests / summary.duration * 1e6, latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    latency.max / 1000, summary.requests,
    errors.status + errors.connect + errors.read + errors.write + errors.timeout))
end
