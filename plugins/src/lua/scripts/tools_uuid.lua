-- Ids made and recognised (kong/tools/uuid.lua).
local native = require "gateway.native"
local HEX = "%x"

local function pattern()
  local parts = {}
  for _, length in ipairs { 8, 4, 4, 4, 12 } do
    parts[#parts + 1] = HEX:rep(length)
  end
  return "^" .. table.concat(parts, "%-") .. "$"
end
local WHOLE = pattern()

return {
  uuid = native.uuid,
  is_valid_uuid = function(text)
    return type(text) == "string" and text:match(WHOLE) ~= nil
  end,
}
