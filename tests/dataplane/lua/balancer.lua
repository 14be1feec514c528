-- Sends the request to the host that the table gave. Only IP literals can be set; as in FATE's own
-- script a refusal is logged and nothing more, so nginx takes the placeholder of its upstream.
local target = ngx.ctx.target
local ok, message = require("ngx.balancer").set_current_peer(target.host, target.port)
if not ok then
    ngx.log(ngx.ERR, "cannot use ", target.host, ": ", message)
end
