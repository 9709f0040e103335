-- Texts split, joined and trimmed (kong/tools/string.lua).
local M = {}

function M.strip(text)
  if text == nil then
    return ""
  end
  return (tostring(text):gsub("^%s+", ""):gsub("%s+$", ""))
end

function M.split(text, separator)
  local parts, from = {}, 1
  while true do
    local first, last = text:find(separator, from, true)
    if not first then
      parts[#parts + 1] = text:sub(from)
      return parts
    end
    parts[#parts + 1] = text:sub(from, first - 1)
    from = last + 1
  end
end

function M.splitn(text, separator, count)
  local parts, from = {}, 1
  while not count or #parts < count - 1 do
    local first, last = text:find(separator, from, true)
    if not first then
      break
    end
    parts[#parts + 1] = text:sub(from, first - 1)
    from = last + 1
  end
  parts[#parts + 1] = text:sub(from)
  return parts, #parts
end

function M.startswith(text, prefix)
  return text:sub(1, #prefix) == prefix
end

function M.endswith(text, suffix)
  return suffix == "" or text:sub(-#suffix) == suffix
end

function M.isplitn(text, separator, count)
  local parts = M.splitn(text, separator, count)
  local at = 0
  return function()
    at = at + 1
    return parts[at]
  end
end

M.bytes_to_str = tostring
M.to_hex = require("gateway.native").to_hex

return M
