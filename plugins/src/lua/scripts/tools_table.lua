-- Tables copied, joined and looked through (kong/tools/table.lua).
local M = {}

M.table_merge = kong.table.merge
M.EMPTY = setmetatable({}, { __newindex = function() error("readonly table") end })

function M.table_contains(table, wanted)
  for _, value in pairs(table or {}) do
    if value == wanted then
      return true
    end
  end
  return false
end

function M.is_array(table)
  if type(table) ~= "table" then
    return false
  end
  local count = 0
  for _ in pairs(table) do
    count = count + 1
  end
  return count == #table
end

function M.cycle_aware_deep_copy(table, _, _, seen)
  if type(table) ~= "table" then
    return table
  end
  seen = seen or {}
  if seen[table] then
    return seen[table]
  end
  local copy = {}
  seen[table] = copy
  for key, value in pairs(table) do
    copy[M.cycle_aware_deep_copy(key, nil, nil, seen)] = M.cycle_aware_deep_copy(value, nil, nil, seen)
  end
  return copy
end
M.deep_copy = M.cycle_aware_deep_copy

function M.shallow_copy(table)
  local copy = {}
  for key, value in pairs(table) do
    copy[key] = value
  end
  return copy
end

return M
