-- Parses the YAML of route tables: block mappings, lists of them, and scalars. Nothing else.
local tables = {}

local function unquote(text)
    return text:match('^"(.*)"$') or text:match("^'(.*)'$") or text
end

local function scalar(text)
    return tonumber(text) or unquote(text)
end

local function lines_of(text)
    local lines = {}
    for line in text:gmatch("[^\n]+") do
        local spaces, rest = line:match("^( *)(.-)%s*$")
        if rest ~= "" and rest:sub(1, 1) ~= "#" then
            lines[#lines + 1] = {indent = #spaces, text = rest}
        end
    end
    return lines
end

local parse_block

-- A list's item is a mapping that begins two columns further in, on the line of the dash.
local function parse_list(lines, at, indent)
    local items = {}
    while lines[at] and lines[at].indent == indent and lines[at].text:sub(1, 2) == "- " do
        lines[at] = {indent = indent + 2, text = lines[at].text:sub(3)}
        items[#items + 1], at = parse_block(lines, at, indent + 2)
    end
    return items, at
end

local function parse_mapping(lines, at, indent)
    local mapping = {}
    while lines[at] and lines[at].indent == indent and lines[at].text:sub(1, 2) ~= "- " do
        local key, value = lines[at].text:match("^([^:]+):%s*(.*)$")
        assert(key, "not a mapping: " .. lines[at].text)
        key, at = unquote(key), at + 1
        if value ~= "" then
            mapping[key] = scalar(value)
        else
            local below = assert(lines[at], key .. " holds nothing")
            local is_list = below.text:sub(1, 2) == "- " and below.indent >= indent
            assert(is_list or below.indent > indent, key .. " holds nothing")
            mapping[key], at = parse_block(lines, at, below.indent)
        end
    end
    return mapping, at
end

function parse_block(lines, at, indent)
    if lines[at].text:sub(1, 2) == "- " then
        return parse_list(lines, at, indent)
    end
    return parse_mapping(lines, at, indent)
end

function tables.parse(text)
    local lines = lines_of(text)
    local parsed, at = parse_block(lines, 1, 0)
    assert(not lines[at], "bad indentation")
    return parsed
end

return tables
