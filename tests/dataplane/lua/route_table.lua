-- The route table as the worker knows it, read again every five seconds.
--
-- As in FATE's own scripts: an entry is set and never taken away, so a removed party stays until
-- the worker is a new one; and a file that cannot be read ends the reading for ever.
local tables = require("tables")

local EVERY_S = 5
local known = {}
local routes = {}

local function read_again(premature)
    if premature then
        return
    end
    local path = ngx.config.prefix() .. "conf/modifiable/route_table.yaml"
    local file = assert(io.open(path, "r"))
    local text = file:read("*a")
    file:close()
    for party, services in pairs(tables.parse(text)) do
        known[party] = services
    end
    assert(ngx.timer.at(EVERY_S, read_again))
end

function routes.start()
    assert(ngx.timer.at(0, read_again))
end

-- The party's entry for the service; of an unknown party, the way of last resort. Several entries
-- are taken at random. Whatever is missing is an error, which nginx answers with 500.
function routes.find(party, service, is_grpc)
    local services = known[assert(party, "no header names the party")]
    local entries
    if services then
        entries = services[service]
    else
        entries = known["default"]["proxy"]
    end
    local entry = entries[math.random(#entries)]
    return {host = entry.host, port = is_grpc and entry.grpc_port or entry.http_port}
end

return routes
