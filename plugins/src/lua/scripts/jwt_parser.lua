-- Tokens taken apart (kong/plugins/jwt/jwt_parser.lua): header, claims, signature. Signatures are
-- the jwt plugin's to check; this module checks none.
local json = require "cjson.safe"
local match, gsub = string.match, string.gsub

local Token = {}
Token.__index = Token

local function decoded(text)
  local padding = #text % 4
  local standard = gsub(gsub(text, "-", "+"), "_", "/")
  return ngx.decode_base64(standard .. string.rep("=", padding > 0 and 4 - padding or 0))
end

local function part(text, what)
  local bytes = decoded(text)
  local value = bytes and json.decode(bytes)
  if type(value) ~= "table" then
    return nil, "invalid " .. what
  end
  return value
end

function Token:new(text)
  if type(text) ~= "string" then
    return nil, "Token must be a string, got " .. tostring(text)
  end
  local head, body, signature = match(text, "^([^%.]+)%.([^%.]+)%.([^%.]*)$")
  if not head then
    return nil, "invalid JSON"
  end
  local header, problem = part(head, "JSON")
  if not header then
    return nil, problem
  end
  local claims
  claims, problem = part(body, "JSON")
  if not claims then
    return nil, problem
  end
  if type(header.alg) ~= "string" then
    return nil, "invalid alg"
  end
  return setmetatable({
    token = text,
    header = header,
    claims = claims,
    header_64 = head,
    claims_64 = body,
    signature_64 = signature,
    signature = decoded(signature),
  }, Token)
end

function Token:base64_decode(text)
  return decoded(text)
end

function Token:get_jwt_algorithm()
  return self.header.alg
end

return Token
