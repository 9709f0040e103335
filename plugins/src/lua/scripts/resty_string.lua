return {
  to_hex = require("gateway.native").to_hex,
  atoi = function(text)
    return tonumber(text)
  end,
}
