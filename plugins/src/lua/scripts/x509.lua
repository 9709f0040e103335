-- lua-resty-openssl's certificates, chains and stores, as far as plugins make them to hand them on.
local kind = ...
local native = require "gateway.native"

local methods = {}

-- Takes in a certificate.
function methods:add(x509)
  if type(x509) ~= "table" or type(x509.pem) ~= "string" then
    return nil, "expect a x509 instance at #1"
  end
  self.pem = self.pem .. x509.pem .. "\n"
  self.ctx = nil
  return true
end

function methods:tostring()
  return self.pem
end
methods.to_PEM = methods.tostring

-- What is handed on is made when somebody asks for it, however many were taken in.
local function index(self, name)
  if name ~= "ctx" or self.pem == "" then
    return methods[name]
  end
  local ctx = native.certificates(self.pem)
  rawset(self, "ctx", ctx)
  return ctx
end

local meta = { __index = index, __tostring = methods.tostring }

return {
  new = function(text)
    if kind ~= "x509" then
      return setmetatable({ pem = "" }, meta)
    end
    if type(text) ~= "string" then
      return nil, "expect nil or a string at #1"
    end
    local ctx, why = native.certificates(text)
    if not ctx then
      return nil, why
    end
    return setmetatable({ pem = text, ctx = ctx }, meta)
  end,
  istype = function(value)
    return type(value) == "table" and getmetatable(value) == meta
  end,
}
