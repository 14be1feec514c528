-- Looks up who shall get a request, before it is sent on.
local headers = ngx.req.get_headers()
ngx.ctx.target = require("route_table").find(
    headers["dest-party-id"] or headers["dest-env"],
    headers["service"],
    ngx.req.http_version() == 2
)
