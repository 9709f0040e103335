-- Sends the GET requests of a file in turn: on each line a path, a space, and a token or nothing.

local requests, at = {}, 0

function init(args)
   for line in io.lines(args[1]) do
      local path, token = line:match("^(%S+) (%S*)$")
      local headers = {}
      for name, value in pairs(wrk.headers) do headers[name] = value end
      if token ~= "" then headers["Authorization"] = "Bearer " .. token end
      requests[#requests + 1] = wrk.format("GET", path, headers)
   end
end

function request()
   at = at % #requests + 1
   return requests[at]
end

function done(summary, latency)
   local errors = summary.errors
   print(string.format(
      'told {"requests":%d,"micros":%d,"p50":%d,"p99":%d,"status":%d,"lost":%d}',
      summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
      errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
