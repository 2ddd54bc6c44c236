-- One window of load by one wrk thread: `wrk ... -s load.lua URL -- KIND SECONDS FIRST SAMPLE`.
--
-- KIND is `orders`, `replays` or `reads`. `orders` sends a new order with each request. The other
-- two use the orders that the file SAMPLE lists, a line each: key, order_id, customer_id. After
-- SECONDS no connection sends another request, and wrk ends as soon as every request is answered.
-- So each request has its answer, and the rows can be compared with the 201s without a tolerance.
--
-- The last line on stdout is a JSON object with the counts.

local ffi = require("ffi")

ffi.cdef [[
typedef struct { long seconds; long nanoseconds; } bench_timespec;
typedef struct { uint64_t count, limit, min, max; uint64_t data[]; } bench_stats;
int clock_gettime(int clock, bench_timespec *time);
int getpid(void);
int kill(int process, int signal);
]]

local CLOCK_MONOTONIC = 1
local SIGINT = 2
local NEVER_MS = 1000000000
local authorization = os.getenv("BENCH_AUTHORIZATION")
if authorization ~= "" then wrk.headers["Authorization"] = authorization end
local SPREAD = 2654435761ULL -- It is odd, so it permutes the numbers below 2^32.

local time = ffi.new("bench_timespec")
local threads = {}

local kind, seconds, first
local sample = {}
local began_at
local sent = 0
local inspected = false

-- These are globals, because `done` runs in another Lua state and reads them with thread:get.
answered = 0
in_window = 0
replayed = 0
statuses = {}

local function now()
    ffi.C.clock_gettime(CLOCK_MONOTONIC, time)
    return tonumber(time.seconds) + tonumber(time.nanoseconds) / 1e9
end

-- For an index this key is as random as a UUID. Two numbers never have the same key.
local function key_of(number)
    local spread = tonumber(ffi.cast("uint64_t", number) * SPREAD % 4294967296ULL)
    return string.format("%08x-0000-4000-8000-%012d", spread, number)
end

local function order_of(key, customer)
    return wrk.format("POST", "/orders", {
        ["Authorization"] = wrk.headers["Authorization"],
        ["Content-Type"] = "application/json",
        ["Idempotency-Key"] = key,
    }, string.format('{"customer_id": "%s", "item_id": "item1", "quantity": 1}', customer))
end

function setup(thread)
    table.insert(threads, thread)
end

function init(args)
    kind, seconds, first = args[1], tonumber(args[2]), tonumber(args[3])
    if kind == "orders" then return end
    for line in io.lines(args[4]) do
        local key, order_id, customer = line:match("^(%S+) (%S+) (%S+)$")
        if kind == "replays" then
            table.insert(sample, order_of(key, customer))
        else
            table.insert(sample, wrk.format("GET", "/orders/" .. order_id))
        end
    end
end

function delay()
    if began_at and now() >= began_at + seconds then return NEVER_MS end
    return 0
end

function request()
    if not inspected then -- wrk inspects the first request and does not send it.
        inspected = true
        return wrk.format("GET", "/")
    end
    began_at = began_at or now()
    local number = first + sent
    sent = sent + 1
    if kind == "orders" then
        return order_of(key_of(number), "cust" .. number % 1000)
    end
    return sample[number % #sample + 1]
end

function response(status, headers)
    local at = now()
    answered = answered + 1
    statuses[status] = (statuses[status] or 0) + 1
    if headers["Idempotent-Replayed"] or headers["idempotent-replayed"] then
        replayed = replayed + 1
    end
    if at < began_at + seconds then
        in_window = in_window + 1
    elseif answered == sent then
        ffi.C.kill(ffi.C.getpid(), SIGINT) -- On this signal wrk ends early and reports.
    end
end

-- wrk corrects its latencies for "coordinated omission": it adds answers that clients with a fixed
-- schedule would have received. These clients have no schedule, because each sends its next request
-- when the last one is answered. So this function removes what wrk has added. It goes from the
-- longest latency to the shortest one, because wrk went the other way.
local function remove_correction(stats, summary, connections)
    local expected = math.floor(summary.duration / math.floor(summary.requests / connections))
    for n = tonumber(stats.max), expected * 2, -1 do
        local count = stats.data[n]
        local m = n - expected
        while count > 0 and m > expected do
            stats.data[m] = stats.data[m] - count
            stats.count = stats.count - count
            m = m - expected
        end
    end
    assert(tonumber(stats.count) == summary.requests, "this version of wrk corrects its latencies in another way")
end

local function percentile(stats, share)
    local wanted, seen = share * tonumber(stats.count), 0
    for n = tonumber(stats.min), tonumber(stats.max) do
        seen = seen + tonumber(stats.data[n])
        if seen >= wanted then return n end
    end
    return 0
end

function done(summary, latency)
    local thread = threads[1]
    local answered = thread:get("answered")
    local stats = ffi.cast("bench_stats **", ffi.cast("void *", latency))[0]
    local connections = tonumber(os.getenv("BENCH_CONNECTIONS"))
    if answered >= connections then remove_correction(stats, summary, connections) end
    local counted = {}
    for status, count in pairs(thread:get("statuses")) do
        table.insert(counted, string.format('"%d": %d', status, count))
    end
    local errors = summary.errors
    print(string.format(
        '{"answered": %d, "in_window": %d, "replayed": %d, "statuses": {%s}, "broken": %d,'
            .. ' "p50_us": %d, "p99_us": %d, "max_us": %d}',
        answered, thread:get("in_window"), thread:get("replayed"), table.concat(counted, ", "),
        errors.connect + errors.read + errors.write + errors.timeout,
        percentile(stats, 0.5), percentile(stats, 0.99), tonumber(stats.max)))
end
