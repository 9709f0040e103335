-- A bounded cache of one machine (resty.lrucache). What was used longest ago goes first.
local Cache = {}
Cache.__index = Cache

local function unlink(entry)
  entry.before.after, entry.after.before = entry.after, entry.before
end

local function to_front(self, entry)
  local head = self.head
  entry.before, entry.after = head, head.after
  head.after.before, head.after = entry, entry
end

function Cache.new(size)
  if type(size) ~= "number" or size < 1 then
    return nil, "size too small"
  end
  local head = {}
  head.before, head.after = head, head
  return setmetatable({ size = size, count = 0, entries = {}, head = head }, Cache)
end

function Cache:get(key)
  local entry = self.entries[key]
  if not entry then
    return nil
  end
  unlink(entry)
  to_front(self, entry)
  if entry.ends and entry.ends <= ngx.now() then
    return nil, entry.value, entry.flags
  end
  return entry.value, nil, entry.flags
end

function Cache:delete(key)
  local entry = self.entries[key]
  if not entry then
    return false
  end
  unlink(entry)
  self.entries[key] = nil
  self.count = self.count - 1
  return true
end

function Cache:set(key, value, lives, flags)
  self:delete(key)
  if self.count >= self.size then
    self:delete(self.head.before.key)
  end
  local entry = { key = key, value = value, flags = flags or 0, ends = lives and ngx.now() + lives }
  self.entries[key] = entry
  self.count = self.count + 1
  to_front(self, entry)
end

function Cache:flush_all()
  self.entries, self.count = {}, 0
  self.head.before, self.head.after = self.head, self.head
end

return Cache
