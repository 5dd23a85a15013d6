-- wrk -s post.lua URL -- FILE: posts what is in FILE, as JSON.
function init(args)
  local file = assert(io.open(args[1], "rb"))
  wrk.method = "POST"
  wrk.headers["content-type"] = "application/json"
  wrk.body = file:read("*a")
  file:close()
end

-- One line for whoever started it: requests, errors, and microseconds that half and 99 % of them took.
function done(summary, latency, requests)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format("load %d %d %d %d\n", summary.requests, failed,
    latency:percentile(50), latency:percentile(99)))
end
