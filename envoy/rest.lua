-- What no Envoy setting can say. REST callers get the right content type for streams, one language and clean headers;
-- gRPC and gRPC-Web callers get Envoy's own errors in the form of google.rpc.Status.
--
-- This filter is the first one, so it sees a request as it came, and a response as it leaves: after grpc_web and the
-- transcoder have done their work, and after local_reply_config (envoy.yaml) has written Envoy's own errors.

-- Requests ------------------------------------------------------------------------------------------------------------

-- The language that messages are in: Korean for a caller who prefers it, else English. The same rule as `language_of`
-- in errors.py, so that the edge and the engine never answer in two languages.
local function language_of(accept_language)
  local best_quality, best = 0, "en"
  for part in string.gmatch(accept_language, "[^,]+") do
    local tag, parameter = string.match(part, "^%s*([^;]-)%s*;%s*(.-)%s*$")
    tag = tag or string.match(part, "^%s*(.-)%s*$")
    local quality = 1
    if parameter and string.match(parameter, "^q%s*=") then
      quality = tonumber(string.match(parameter, "=%s*(.*)$")) or 0
    end
    local name = string.match(string.lower(tag), "^[^-]*")
    if quality > best_quality and (name == "ko" or name == "en") then
      best_quality, best = quality, name
    end
  end
  return best
end

-- Whether bytes are UTF-8 (RFC 3629), by its table of well-formed sequences.
local function is_utf8(text)
  local at, length = 1, #text
  while at <= length do
    local first = string.byte(text, at)
    local second, third, fourth = string.byte(text, at + 1, at + 3)
    local function continues(byte) return byte ~= nil and byte >= 0x80 and byte <= 0xBF end
    if first < 0x80 then
      at = at + 1
    elseif first >= 0xC2 and first <= 0xDF and continues(second) then
      at = at + 2
    elseif first >= 0xE0 and first <= 0xEF and continues(second) and continues(third)
      and not (first == 0xE0 and second < 0xA0) and not (first == 0xED and second > 0x9F) then
      at = at + 3
    elseif first >= 0xF0 and first <= 0xF4 and continues(second) and continues(third) and continues(fourth)
      and not (first == 0xF0 and second < 0x90) and not (first == 0xF4 and second > 0x8F) then
      at = at + 4
    else
      return false
    end
  end
  return true
end

local function percent_decoded(text)
  return (string.gsub(text, "%%(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end))
end

-- A time as people write it, completed to what protobuf's JSON takes; nil where there is nothing to complete. ISO 8601
-- leaves the time of day, the seconds and the zone out where they are plain: midnight, 0 and UTC.
local function completed(time)
  local date = "^%d%d%d%d%-%d%d%-%d%d"
  if string.find(time, date .. "$") then
    return time .. "T00:00:00Z"
  elseif string.find(time, date .. "T%d%d:%d%dZ?$") then
    return string.gsub(time, "Z$", "") .. ":00Z"
  elseif string.find(time, date .. "T%d%d:%d%d:%d%d%.?%d*$") then
    return time .. "Z"
  end
end

local function with_times_completed(path)
  for _, name in ipairs({"start", "end"}) do
    path = string.gsub(path, "([?&]" .. name .. "=)([^&]*)", function(before, value)
      local time = completed(percent_decoded(value))
      return time and before .. time
    end)
  end
  return path
end

-- Whether a handshake is within what the WebSocket library reads: lines of 8 KiB, 128 of them.
local function fits_the_bridge(headers)
  local count = 0
  for name, value in pairs(headers) do
    count = count + 1
    if #name + #value > 8000 or count > 110 then
      return false
    end
  end
  return true
end

-- Which methods each path has, without a leading /api; `*` is any last segment. A test compares it with the contract.
local METHODS = {
  ["/"] = "GET",
  ["/docs"] = "GET",
  ["/docs/*"] = "GET",
  ["/console/*"] = "GET",
  ["/v1/market/price/*"] = "GET",
  ["/v1/market/prices"] = "GET",
  ["/v1/market/history/*"] = "GET",
  ["/v1/market/orderbook/*"] = "GET",
  ["/v1/market/instruments"] = "GET",
  ["/v1/market/prices:stream"] = "GET",
  ["/v1/market/orderbooks:stream"] = "GET",
  ["/v1/market/candles:stream"] = "GET",
  ["/v1/portfolio/positions"] = "GET, POST",
  ["/v1/portfolio/positions/*"] = "GET, DELETE",
  ["/v1/portfolio/positions/*:close"] = "POST",
  ["/v1/portfolio/positions:stream"] = "GET",
  ["/v1/portfolio/balance"] = "GET",
  ["/v1/portfolio/trades"] = "GET",
  ["/v1/portfolio/ledger"] = "GET",
  ["/v1/analysis/prediction/*"] = "GET",
  ["/v1/analysis/risk/*"] = "GET",
  ["/v1/analysis/portfolio/risk"] = "GET",
  ["/v1/analysis/accuracy/*"] = "GET",
  ["/v1/analysis/models"] = "GET",
  ["/v1/auth/token"] = "POST",
}

-- The methods of a path, with or without a query; nil where there is no such path.
local function methods_of(path)
  path = string.gsub(string.match(path, "^[^?]*"), "^/api/v1/", "/v1/")
  path = string.match(path, "^(.+)/$") or path -- the transcoder takes a slash at the end
  local known = METHODS[path]
  if known then
    return known
  end
  local folder, last = string.match(path, "^(.*/)([^/]+)$")
  if folder then
    return METHODS[folder .. "*" .. (string.match(last, ":%a+$") or "")] or METHODS[folder .. "*"]
  end
end

-- Bodies. The transcoder is lenient: it takes single quotes and trailing commas, leaves out what it does not know and
-- `null` in a list, takes a list in a list for its items, and of two fields of a name the last. What was meant is then
-- not what is done, so a body is read here first, and the engine is told the names.
local VALUES = {["true"] = true, ["false"] = true, ["null"] = true}
local NESTED_MAX = 32

local function after_space(text, at) return string.find(text, "[^ \t\r\n]", at) or #text + 1 end

-- The place after a JSON string that begins at `at`; nil where there is none.
local function after_string(text, at)
  if string.sub(text, at, at) ~= '"' then
    return nil
  end
  at = at + 1
  while true do
    at = string.find(text, '["\\%c]', at)
    local sign = at and string.sub(text, at, at)
    if sign == '"' then
      return at + 1
    elseif sign ~= "\\" then
      return nil -- a control character, or the end
    elseif string.find(text, "^u%x%x%x%x", at + 1) then
      at = at + 6
    elseif string.find(text, '^["\\/bfnrt]', at + 1) then
      at = at + 2
    else
      return nil
    end
  end
end

local function after_number(text, at)
  local stop = string.match(text, "^%-?0()", at) or string.match(text, "^%-?[1-9]%d*()", at)
  stop = stop and (string.match(text, "^%.%d+()", stop) or stop)
  return stop and (string.match(text, "^[eE][+-]?%d+()", stop) or stop)
end

local after_value

-- The place after an object or a list; nil where it is none. The names of an object are added to `names`.
local function after_nested(text, at, depth, names)
  local is_object = string.sub(text, at, at) == "{"
  local close = is_object and "}" or "]"
  at = after_space(text, at + 1)
  if string.sub(text, at, at) == close then
    return at + 1
  end
  while true do
    if is_object then
      local stop = after_string(text, at)
      if not stop then
        return nil
      end
      if names and #names < 64 then
        local name = string.sub(text, at + 1, stop - 2)
        names[#names + 1] = string.find(name, "^[%w_]+$") and #name <= 64 and name or "?"
      end
      at = after_space(text, stop)
      if string.sub(text, at, at) ~= ":" then
        return nil
      end
      at = after_space(text, at + 1)
    elseif string.find(text, "^null", at) or string.sub(text, at, at) == "[" then
      return nil -- no field of the contract has these in a list
    end
    at = after_value(text, at, depth)
    at = at and after_space(text, at)
    local sign = at and string.sub(text, at, at)
    if sign == close then
      return at + 1
    elseif sign ~= "," then
      return nil
    end
    at = after_space(text, at + 1)
  end
end

after_value = function(text, at, depth)
  local sign = string.sub(text, at, at)
  if sign == "{" or sign == "[" then
    return depth < NESTED_MAX and after_nested(text, at, depth + 1) or nil
  end
  local word, stop = string.match(text, "^(%l+)()", at)
  if word then
    return VALUES[word] and stop
  end
  return after_string(text, at) or after_number(text, at)
end

-- The names in a JSON object, outermost level only, in their order; nil where the text is no JSON object.
local function names_in(text)
  local names, at = {}, after_space(text, 1)
  local stop = string.sub(text, at, at) == "{" and after_nested(text, at, 1, names)
  return stop and after_space(text, stop) > #text and table.concat(names, ",") or nil
end

function envoy_on_request(handle)
  local headers = handle:headers()
  -- local_reply_config can only compare strings, so the preference is worked out here.
  local accept_language = headers:get("accept-language")
  if accept_language then
    headers:replace("accept-language", language_of(accept_language))
  end

  -- gRPC's own headers mean nothing in REST, and a malformed one would spoil other callers' calls, too: the engine's
  -- connections are shared. (A name that is not there costs nothing to remove.)
  local is_grpc = string.find(headers:get("content-type") or "", "^application/grpc") ~= nil
  local timeout = headers:get("grpc-timeout")
  if timeout and not (is_grpc and string.find(timeout, "^%d%d?%d?%d?%d?%d?%d?%d?[HMSmun]$")) then
    headers:remove("grpc-timeout")
  end
  local encoding = headers:get("grpc-encoding")
  if encoding and not (is_grpc and string.find("|identity|gzip|deflate|", "|" .. encoding .. "|", 1, true)) then
    headers:remove("grpc-encoding")
  end

  local path, method = headers:get(":path") or "", headers:get(":method")
  local is_stream = string.find(path, "^[^?]*:stream%f[?%z]") ~= nil
  handle:streamInfo():dynamicMetadata():set("entasis", "stream", is_stream) -- set at all: this filter was reached
  local methods = not is_grpc and methods_of(path)
  if methods and not string.find(", " .. methods .. ",", ", " .. method .. ",", 1, true) then
    methods = methods .. ", OPTIONS"
    if method ~= "OPTIONS" then
      -- The transcoder finds nothing where we send it, and local_reply_config makes 405 of that: not answered here, so
      -- that pages of other origins may read it, too.
      handle:streamInfo():dynamicMetadata():set("entasis", "allow", methods)
      headers:replace(":path", "/-")
      return
    elseif not (headers:get("origin") and headers:get("access-control-request-method")) then -- no preflight
      handle:respond({[":status"] = "204", ["allow"] = methods}, "")
      return
    end
  end
  if string.find(path, "[?&]start=") or string.find(path, "[?&]end=") then
    local whole = with_times_completed(path)
    if whole ~= path then
      headers:replace(":path", whole)
    end
  end
  -- The bridge's library refuses these limits of its own in plain text, and with less than Envoy takes.
  if string.find(path, "^/ws/market%f[?%z]") and not fits_the_bridge(headers) then
    handle:respond({[":status"] = "431"}, "the headers are too large")
    return
  end
  -- The transcoder would read a body into the request, over what the path says.
  local length = tonumber(headers:get("content-length") or "0") or 0
  local has_body = (length > 0 and length <= 65536) or headers:get("transfer-encoding") -- more is 413, further on
  if not is_grpc and has_body and method == "GET" then
    handle:respond({[":status"] = "400"}, "a GET has no body")
    return
  end
  -- The transcoder would pass the bytes on, and protobuf refuses them with an error that explains nothing.
  if string.find(path, "%%[89A-Fa-f]") and not is_utf8(percent_decoded(path)) then
    handle:respond({[":status"] = "400"}, "the path or the query is not UTF-8")
    return
  end
  -- Last, since no handle of the headers outlives the wait for the body.
  if not is_grpc and has_body and method == "POST" then
    local body = handle:body()
    if body and body:length() > 0 then
      local names = names_in(body:getBytes(0, body:length()))
      if not names then
        handle:respond({[":status"] = "400"}, "the body is not a JSON object, or has null or a list in a list")
        return
      end
      if names ~= "" then
        handle:headers():replace("x-envoy-body-fields", names) -- a caller's own was removed before
      end
    end
  end
end

-- Responses -----------------------------------------------------------------------------------------------------------

-- Protobuf's wire format, as far as google.rpc.Status needs it.
local function varint(number)
  local bytes = ""
  while number >= 128 do
    bytes = bytes .. string.char(number % 128 + 128)
    number = math.floor(number / 128)
  end
  return bytes .. string.char(number)
end

local function integer_field(number, value) return varint(number * 8) .. varint(value) end

local function bytes_field(number, value) return varint(number * 8 + 2) .. varint(#value) .. value end

local function any(name, value)
  return bytes_field(1, "type.googleapis.com/google.rpc." .. name) .. bytes_field(2, value)
end

local function json_unescaped(text)
  local short = {b = "\b", f = "\f", n = "\n", r = "\r", t = "\t"}
  return (string.gsub(text, "\\(.)(%x?%x?%x?%x?)", function(letter, digits)
    if letter == "u" then
      return string.char(tonumber(digits, 16)) -- Envoy escapes control characters this way, and nothing else
    end
    return (short[letter] or letter) .. digits
  end))
end

-- Envoy puts the body of its own error, which is the JSON that a REST caller would get, into `grpc-message`, and guesses
-- the status from the HTTP status. Put each part where gRPC has it.
local function tell_as_grpc(handle, headers)
  local body = percent_decoded(headers:get("grpc-message") or "")
  local code, details, message = string.match(body, '^{"code":(%d+),"details":(%b[]),"message":"(.*)"}%s*$')
  if not code then
    return
  end
  message = json_unescaped(message)
  local reason, domain = string.match(details, '"reason":"([^"]*)"'), string.match(details, '"domain":"([^"]*)"')
  local info = bytes_field(1, reason) .. bytes_field(2, domain)
  local key, value = string.match(details, '"metadata":{"([^"]*)":"(.-)"}')
  if key then
    info = info .. bytes_field(3, bytes_field(1, key) .. bytes_field(2, json_unescaped(value)))
  end
  local status = integer_field(1, tonumber(code)) .. bytes_field(2, message)
    .. bytes_field(3, any("ErrorInfo", info))
  local retry_seconds = string.match(details, '"retry_delay":"(%d+)s"')
  if retry_seconds then
    local delay = integer_field(1, tonumber(retry_seconds))
    status = status .. bytes_field(3, any("RetryInfo", bytes_field(1, delay)))
  end
  headers:replace(":status", "200") -- gRPC-Web clients look no further at any other
  headers:replace("grpc-status", code)
  headers:replace("grpc-message", (string.gsub(message, "[^ -$&-~]", function(byte)
    return string.format("%%%02X", string.byte(byte))
  end)))
  headers:replace("grpc-status-details-bin", (string.gsub(handle:base64Escape(status), "=+$", "")))
end

-- The transcoder's complaints name the field in words only. Add the BadRequest that the engine gives for its own.
local function name_the_field(handle)
  local body = handle:body()
  local text = body:getBytes(0, body:length())
  -- Envoy writes the keys of its own errors in this order; the engine's errors come in another, and complete.
  local start, message = string.match(text, '^({"code":3,"details":%[{[^{}]*})%],"message":"[^:]*: (.*)"}%s*$')
  if not start then
    return
  end
  local field, description = string.match(message, "^([%w_.]+): (invalid value .*)$")
  if not field then
    field, description = string.match(message, '^Could not find field \\"([%w_.-]+)\\"'), message
  end
  if not field then
    return
  end
  local violation = '{"description":"' .. description .. '","field":"' .. field .. '"}'
  local detail = '{"@type":"type.googleapis.com/google.rpc.BadRequest","field_violations":[' .. violation .. "]}"
  local length = body:setBytes(start .. "," .. detail .. string.sub(text, #start + 1))
  handle:headers():replace("content-length", tostring(length))
end

function envoy_on_response(handle)
  local headers = handle:headers()
  if string.find(headers:get("content-type") or "", "^application/grpc") then
    tell_as_grpc(handle, headers)
    return
  end
  -- Only streams have no length; asking for the metadata costs more than this does.
  if not headers:get("content-length") and headers:get("content-type") == "application/json"
    and headers:get(":status") == "200" then
    local request = handle:streamInfo():dynamicMetadata():get("entasis")
    if request and request["stream"] then
      headers:replace("content-type", "application/x-ndjson")
    end
  end
  -- The engine names a status that gRPC has no word for.
  local code = headers:get("x-http-code")
  if code then
    if headers:get(":status") == "200" then
      headers:replace(":status", code)
    end
    headers:remove("x-http-code")
  end
  -- What gRPC says in headers, REST says in the status line and the body.
  headers:remove("grpc-status")
  headers:remove("grpc-message")
  headers:remove("grpc-accept-encoding")
  if headers:get(":status") == "400" and headers:get("x-error-code") == "REQUEST_001" then
    name_the_field(handle)
  end
end
