-- Sends the requests of a file in turn: on each line a path, a space, and a token or nothing.
-- A % in a token stands for digits that differ in each request.

local requests, at = {}, 0
local number
-- Answers of another status than the wanted one.
wrong = 0

function init(args)
   local method, upload, wanted = "GET", tonumber(args[2]), tonumber(args[3])
   number = tonumber(args[4])
   if upload > 0 then
      method, wrk.body = "POST", string.rep("x", upload)
   end
   for line in io.lines(args[1]) do
      local path, token = line:match("^(%S+) (%S*)$")
      local headers = {}
      for name, value in pairs(wrk.headers) do headers[name] = value end
      if token ~= "" then headers["Authorization"] = "Bearer " .. token end
      local text = wrk.format(method, path, headers)
      if token:find("%", 1, true) then
         requests[#requests + 1] = {text:match("^(.-Bearer [^%%\r]*)%%(.*)$")}
      else
         requests[#requests + 1] = text
      end
   end
   -- Looking at answers costs, so 200 is left to wrk's own count of errors.
   if wanted ~= 200 then
      response = function(status)
         if status ~= wanted then wrong = wrong + 1 end
      end
   end
end

function request()
   at = at % #requests + 1
   local one = requests[at]
   if type(one) == "string" then return one end
   number = number + 1
   return one[1] .. string.format("%012x", number) .. one[2]
end

local threads = {}

function setup(thread)
   threads[#threads + 1] = thread
end

function done(summary, latency)
   local errors, wrong = summary.errors, 0
   for _, thread in ipairs(threads) do wrong = wrong + thread:get("wrong") end
   print(string.format(
      'told {"requests":%d,"micros":%d,"p50":%d,"p99":%d,"p999":%d,"status":%d,"wrong":%d,"lost":%d}',
      summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
      latency:percentile(99.9), errors.status, wrong,
      errors.connect + errors.read + errors.write + errors.timeout))
end
