-- What every machine has before any plugin: protected calls that let an end of the request pass,
-- coroutines that let a wait pass, and the parts of the PDK that are easier said in Lua.
local judge, expire, PENDING, log_print, is_heard = ...

local raw_pcall, raw_xpcall, raw_error = pcall, xpcall, error
local raw_resume, raw_yield, raw_create = coroutine.resume, coroutine.yield, coroutine.create
local raw_status = coroutine.status
local select, type, rawget, rawset, unpack = select, type, rawget, rawset, unpack
local setmetatable, getmetatable, pairs, ipairs = setmetatable, getmetatable, pairs, ipairs
local lower, gsub = string.lower, string.gsub
local tostring = tostring

-- An error is caught unless it ends the call; one of the gateway's own becomes its text. Past the
-- deadline nothing is caught, whatever became of the error on its way.
local function caught(ok, ...)
  if ok then
    return ok, ...
  end
  expire()
  if type((...)) ~= "userdata" then
    return ok, ...
  end
  local ends, text = judge((...))
  if ends then
    raw_error((...), 0)
  end
  return ok, text
end

function pcall(f, ...)
  return caught(raw_pcall(f, ...))
end

function xpcall(f, handler, ...)
  return caught(raw_xpcall(f, function(problem)
    if type(problem) == "userdata" then
      local ends, text = judge(problem)
      if ends then
        return problem
      end
      problem = text
    end
    return handler(problem)
  end, ...))
end

-- A wait inside a coroutine of the code's own waits in the call around it.
local function resumed(co, ok, ...)
  if ok and select("#", ...) == 1 and (...) == PENDING then
    raw_yield(PENDING)
    return resumed(co, raw_resume(co))
  end
  return caught(ok, ...)
end

function coroutine.resume(co, ...)
  return resumed(co, raw_resume(co, ...))
end

local function unwrapped(ok, ...)
  if not ok then
    raw_error((...), 0)
  end
  return ...
end

function coroutine.wrap(f)
  local co = raw_create(f)
  return function(...)
    return unwrapped(resumed(co, raw_resume(co, ...)))
  end
end

function print(...)
  if not is_heard() then
    return
  end
  local parts = {}
  for i = 1, select("#", ...) do
    parts[i] = tostring((select(i, ...)))
  end
  log_print(table.concat(parts, "\t"))
end

-- Nothing that ends the process, runs others, or reads bytecode.
os.exit, os.execute, os.setlocale = nil, nil, nil
io.popen = nil
string.dump = nil
local raw_load = load
function load(chunk, name, mode, env)
  if env ~= nil then
    return raw_load(chunk, name, "t", env)
  end
  return raw_load(chunk, name, "t")
end
function loadstring(chunk, name)
  return raw_load(chunk, name, "t")
end
jit.off()
for _, name in ipairs { "on", "off", "flush", "attach", "opt", "util" } do
  jit[name] = nil
end

local kit = {}

-- Several chunks as one function. What a chunk returns on its first run, if it is a function, is
-- what runs from then on.
function kit.chain(chunks)
  local count = #chunks
  local settled = {}
  return function()
    for i = 1, count do
      if settled[i] then
        chunks[i]()
      else
        settled[i] = true
        local made = chunks[i]()
        if type(made) == "function" then
          chunks[i] = made
          made()
        end
      end
    end
  end
end

-- A method of a handler with its configuration.
function kit.method(handler, name, config)
  local method = handler[name]
  return function()
    return method(handler, config)
  end
end

-- Tables of headers are looked up in any letter case, with underscores for dashes.
kit.headers = {
  __index = function(headers, name)
    if type(name) ~= "string" then
      return nil
    end
    return rawget(headers, (gsub(lower(name), "_", "-")))
  end,
}

-- A view of a table nobody can change through it; what changes by itself (`ngx.var`) still does.
local function view(name, table, depth)
  local inner = {}
  local changes = getmetatable(table)
  if depth > 0 then
    for key, value in pairs(table) do
      if type(value) == "table" and type(key) == "string" then
        inner[key] = view(name .. "." .. key, value, depth - 1)
      end
    end
  end
  return setmetatable(inner, {
    __index = table,
    __newindex = function(_, key, value)
      if changes and changes.__newindex then
        table[key] = value
        return
      end
      raw_error("Cannot modify " .. name .. "." .. tostring(key) .. ". Protected by the sandbox.", 2)
    end,
    __call = changes and changes.__call and function(_, ...)
      return table(...)
    end or nil,
    __metatable = false,
  })
end
kit.view = view

-- Links dotted names of the globals into an environment.
function kit.link(path, from, into)
  local head, rest = path:match("^([^%.]+)%.?(.*)$")
  local value = head and from[head]
  if value == nil then
    return
  end
  if rest == "" then
    if type(value) == "table" then
      value = view(path, value, 3)
    end
    rawset(into, head, value)
    return
  end
  if type(value) ~= "table" then
    return
  end
  local inner = rawget(into, head)
  if inner == nil then
    inner = {}
    rawset(into, head, inner)
  end
  kit.link(rest, value, inner)
end

-- A value as inspect.lua shows it: lists on one line, other tables a member a line.
local function inspected(value, seen, indent)
  if type(value) == "string" then
    return string.format("%q", value):gsub("\\\n", "\\n")
  end
  if type(value) ~= "table" then
    return tostring(value)
  end
  if seen[value] then
    return "<table " .. seen[value] .. ">"
  end
  seen.count = (seen.count or 0) + 1
  seen[value] = seen.count
  local length, parts, names = #value, {}, {}
  for i = 1, length do
    parts[i] = inspected(value[i], seen, indent)
  end
  for name in pairs(value) do
    if not (type(name) == "number" and name >= 1 and name <= length and name % 1 == 0) then
      names[#names + 1] = name
    end
  end
  if #names == 0 then
    return #parts == 0 and "{}" or "{ " .. table.concat(parts, ", ") .. " }"
  end
  table.sort(names, function(a, b)
    return tostring(a) < tostring(b)
  end)
  local deeper = indent .. "  "
  for _, name in ipairs(names) do
    local plain = type(name) == "string" and name:match("^[%a_][%w_]*$")
    local shown = plain and name or "[" .. inspected(name, seen, deeper) .. "]"
    parts[#parts + 1] = shown .. " = " .. inspected(value[name], seen, deeper)
  end
  return "{\n" .. deeper .. table.concat(parts, ",\n" .. deeper) .. "\n" .. indent .. "}"
end

-- `kong.log.inspect`: writes values as they are, where lines are heard and the plugin has not turned
-- it off for itself.
function kit.inspect(print, heard, whose)
  local off = {}
  return setmetatable({
    on = function()
      off[whose()] = nil
    end,
    off = function()
      off[whose()] = true
    end,
  }, {
    __call = function(_, ...)
      if not heard() or off[whose()] then
        return
      end
      local parts = {}
      for i = 1, select("#", ...) do
        parts[i] = inspected((select(i, ...)), {}, "")
      end
      print(table.concat(parts, " "))
    end,
  })
end

-- `kong.cache`: values made once and kept in this machine for a while.
function kit.cache(now)
  local kept, count, MOST = {}, 0, 10000
  local cache = {}
  local function put(key, value, lives)
    if not kept[key] then
      if count >= MOST then
        kept, count = {}, 0
      end
      count = count + 1
    end
    kept[key] = { value = value, ends = lives and lives > 0 and now() + lives or nil }
  end
  local function find(key)
    local found = kept[key]
    if found and found.ends and found.ends <= now() then
      kept[key] = nil
      count = count - 1
      return nil
    end
    return found
  end
  function cache:get(key, options, make, ...)
    if type(key) ~= "string" then
      raw_error("key must be a string", 2)
    end
    local found = find(key)
    if found then
      return found.value, nil, 1
    end
    if not make then
      return nil
    end
    local ok, value, problem, lives = pcall(make, ...)
    if not ok then
      return nil, "callback threw an error: " .. tostring(value)
    end
    if problem then
      return nil, problem
    end
    lives = lives or options and (value == nil and options.neg_ttl or options.ttl)
    put(key, value, lives)
    return value, nil, 3
  end
  function cache:probe(key)
    local found = find(key)
    if not found then
      return nil
    end
    return found.ends and found.ends - now() or 0, nil, found.value
  end
  function cache:safe_set(key, value)
    put(key, value)
    return true
  end
  function cache:invalidate_local(key)
    if kept[key] then
      kept[key] = nil
      count = count - 1
    end
  end
  cache.invalidate = cache.invalidate_local
  function cache:purge()
    kept, count = {}, 0
  end
  return cache
end

return kit
