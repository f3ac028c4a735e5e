"""The Lua that counts in Redis: every limit of a request in one step, by Redis' own clock.

The same arithmetic as :class:`~..policy.allowance.Drain`, in microseconds. A rate is a string, the time at
which everything taken will have drained; slots are a sorted set of leases by the time at which they lapse.
What has another type or is no number is corrupt: it is deleted and counted afresh.

``take``    n, lease, lease µs; of each of the n rates: each, room, longest (µs), amount, needed (units); of
            each slot: limit → allowed, now (µs), of each rate its level before (µs), of each slot its leases
``settle``  n, lease; of each rate: each, longest (µs), used - taken (units), taken until (µs) → 1
``renew``   0, lease, lease µs → 1
"""

from __future__ import annotations

from hashlib import sha1

SCRIPT = """
local op, n, lease = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])

local function level_of(key, longest)
    local got = redis.pcall('GET', key)
    if type(got) == 'table' then redis.call('DEL', key); return 0 end
    local level = (got and tonumber(got) or now) - now
    if level <= longest then return math.max(level, 0) end
    return 0
end

local function keep(key, level)
    if level > 0 then
        redis.call('SET', key, string.format('%.17g', now + level), 'PX', math.ceil(level / 1000))
    else
        redis.call('DEL', key)
    end
end

local function lapse(key)
    local got = redis.pcall('ZREMRANGEBYSCORE', key, '-inf', now)
    if type(got) == 'table' then redis.call('DEL', key) end
end

if op == 'take' then
    local life, allowed, answer = tonumber(ARGV[4]), 1, {}
    local levels = {}
    for i = 1, n do
        local at = 5 * i
        local each, room = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
        local level = level_of(KEYS[i], tonumber(ARGV[at + 2]))
        if level + tonumber(ARGV[at + 4]) * each > room + 0.1 * each then allowed = 0 end
        levels[i] = level
        answer[i + 2] = string.format('%.17g', level)
    end
    for i = n + 1, #KEYS do
        lapse(KEYS[i])
        local used = redis.call('ZCARD', KEYS[i])
        if used >= tonumber(ARGV[4 + 5 * n + i - n]) then allowed = 0 end
        answer[i + 2] = used
    end
    if allowed == 1 then
        for i = 1, n do
            local at = 5 * i
            local level = levels[i] + tonumber(ARGV[at + 3]) * tonumber(ARGV[at])
            keep(KEYS[i], math.min(level, tonumber(ARGV[at + 2])))
        end
    end
    answer[1], answer[2] = allowed, string.format('%.17g', now)
    if allowed == 1 then
        for i = n + 1, #KEYS do
            redis.call('ZADD', KEYS[i], now + life, lease)
            redis.call('PEXPIRE', KEYS[i], math.ceil(life / 1000))
        end
    end
    return answer
end

if op == 'settle' then
    for i = 1, n do
        local at = 4 * i
        local each, longest = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
        local level, more = level_of(KEYS[i], longest), tonumber(ARGV[at + 2])
        if more > 0 then
            keep(KEYS[i], math.min(level + more * each, longest))
        elseif more < 0 then
            keep(KEYS[i], level - math.min(-more * each, math.max(tonumber(ARGV[at + 3]) - now, 0)))
        end
    end
    for i = n + 1, #KEYS do
        lapse(KEYS[i])
        redis.call('ZREM', KEYS[i], lease)
    end
    return 1
end

local life = tonumber(ARGV[4])
for i = 1, #KEYS do
    lapse(KEYS[i])
    redis.call('ZADD', KEYS[i], now + life, lease)
    redis.call('PEXPIRE', KEYS[i], math.ceil(life / 1000))
end
return 1
"""
SHA = sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()
