-- Kinds of fields schemas share (kong/db/schema/typedefs.lua). Called with a table, a kind gives a
-- field that has the table's attributes too. `is` names a check of the gateway's own.
local function kind(field)
  return setmetatable(field, {
    __call = function(_, more)
      local made = {}
      for name, value in pairs(field) do
        made[name] = value
      end
      for name, value in pairs(more or {}) do
        made[name] = value
      end
      return made
    end,
  })
end

local function text(check, more)
  local field = { type = "string", is = check }
  for name, value in pairs(more or {}) do
    field[name] = value
  end
  return kind(field)
end

local HTTP = { "grpc", "grpcs", "http", "https" }
local ANY = { "grpc", "grpcs", "http", "https", "tcp", "tls", "tls_passthrough", "udp" }

local M = {
  host = text "host",
  host_with_optional_port = text "host_with_optional_port",
  wildcard_host = text "wildcard_host",
  sni = text "sni",
  wildcard_sni = text "wildcard_host",
  port = kind { type = "integer", between = { 0, 65535 } },
  url = text "url",
  path = text "path",
  http_method = text(nil, { match = "^%u+$" }),
  header_name = text "header_name",
  ip = text "ip",
  ip_or_cidr = text "ip_or_cidr",
  cidr_v4 = text "ip_or_cidr",
  timeout = kind { type = "integer", between = { 0, 2147483646 } },
  uuid = kind { type = "string", uuid = true },
  name = text("utf8_name", { unique = true }),
  utf8_name = text("utf8_name", { unique = true }),
  tag = text("tag", { required = true }),
  tags = kind { type = "set", elements = { type = "string", is = "tag", required = true } },
  certificate = text "certificate",
  key = text("private_key", { encrypted = true }),
  auto_timestamp_s = kind { type = "integer", timestamp = true, auto = true },
  auto_timestamp_ms = kind { type = "number", timestamp = true, auto = true },
  no_consumer = kind { type = "foreign", reference = "consumers", eq = ngx.null },
  no_consumer_group = kind { type = "foreign", reference = "consumer_groups", eq = ngx.null },
  no_route = kind { type = "foreign", reference = "routes", eq = ngx.null },
  no_service = kind { type = "foreign", reference = "services", eq = ngx.null },
  protocols = kind {
    type = "set",
    required = true,
    default = HTTP,
    elements = { type = "string", one_of = ANY },
  },
  protocols_http = kind {
    type = "set",
    required = true,
    default = HTTP,
    elements = { type = "string", one_of = HTTP },
  },
  lua_code = kind {
    type = "map",
    keys = { type = "string", len_min = 1 },
    values = { type = "string", len_min = 1 },
  },
  headers = kind {
    type = "map",
    keys = { type = "string", is = "header_name" },
    values = { type = "array", elements = { type = "string" } },
  },
  methods = kind { type = "set", elements = { type = "string", match = "^%u+$" } },
  hosts = kind { type = "array", elements = { type = "string", is = "wildcard_host" } },
  paths = kind { type = "array", elements = { type = "string", is = "path" } },
  semantic_version = kind { type = "string", match = "^%d+[%.%d]*$" },
}

return M
