-- Peer: the line of a pixel event in nginx. log_by_lua runs event() after the answer; the access log writes what it returns.
local encode = require('cjson.safe').encode
local format, sub, date = string.format, string.sub, os.date
local known = { e = true, uid = true, url = true, ref = true }

-- The first value of a parameter that comes several times; nginx gives `true` for one without a value.
local function one(value)
  if type(value) == 'table' then value = value[1] end
  return value == true and '' or value
end

-- An object without names is left out, as ours is.
local function filled(object) return next(object) and object end

-- 32 random digits of nginx as a UUID of version 4.
local function uuid(id)
  return format('%s-%s-4%s-a%s-%s', sub(id, 1, 8), sub(id, 9, 12), sub(id, 14, 16), sub(id, 18, 20), sub(id, 21))
end

function event()
  local var, args, now = ngx.var, ngx.req.get_uri_args(), ngx.now()
  local utm, props = {}, {}
  for key, value in pairs(args) do
    if sub(key, 1, 4) == 'utm_' then utm[sub(key, 5)] = one(value)
    elseif not known[key] then props[key] = one(value) end
  end
  return encode({
    event_id = uuid(var.request_id),
    ts = date('!%Y-%m-%dT%H:%M:%S', now) .. format('.%03dZ', now % 1 * 1000),
    e = one(args.e) or 'pageview', uid = one(args.uid), sid = var.cookie_sid,
    url = one(args.url) or var.http_referer, ref = one(args.ref), ua = var.http_user_agent,
    ip = var.remote_addr, utm = filled(utm), props = filled(props),
  })
end
