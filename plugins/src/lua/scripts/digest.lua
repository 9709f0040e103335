-- A digest made piece by piece, with OpenResty's interface.
local name = ...
local native = require "gateway.native"

local Digest = {}
Digest.__index = Digest

function Digest.new()
  return setmetatable({ parts = {} }, Digest)
end

function Digest:update(text)
  self.parts[#self.parts + 1] = text
  return true
end

function Digest:final()
  return native.digest(name, table.concat(self.parts))
end

function Digest:reset()
  self.parts = {}
  return true
end

return Digest
