local jwt_parser = require "kong.plugins.jwt.jwt_parser"

local AppIdHeader = { PRIORITY = 10, VERSION = "1.0.0" }

local function first(value)
  return type(value) == "table" and value[1] or value
end

local function bearer()
  local header = first(ngx.req.get_headers()["Authorization"])
  local matches, problem = ngx.re.gmatch(header, "\\s*[Bb]earer\\s+(.+)")
  if not matches then
    return nil, problem
  end
  local found = matches()
  return found and found[1]
end

function AppIdHeader:access()
  local text, problem = bearer()
  if problem then
    return kong.response.exit(500, { message = "Unexpected error." })
  end
  local token = jwt_parser:new(text)
  if not token then
    return kong.response.exit(500, { message = "Unexpected error." })
  end
  local claimed = token.claims.clientip
  if claimed == "UNKNOWN_IP" or claimed ~= ngx.var.remote_addr then
    return kong.response.exit(401, { message = "Unauthorized" })
  end
  ngx.req.clear_header("X-AppinstanceID")
  ngx.req.set_header("X-AppinstanceID", token.claims.sub)
end

return AppIdHeader
