-- Takes the groups of meters of one request, each group whole or not at all, and carries out posts.
--
-- KEYS     one for each meter, in order; two meters may share one
-- ARGV[1]  MessagePack: a list of groups, each a list of meters {kind, limit, window, gate, cost, at}
-- ARGV[2]  the time, in microseconds since the epoch; empty: this server's
-- ARGV[3]  and on: a value for each meter whose kind counts values or holders, in order
--
-- Returns, as MessagePack, the time in microseconds and then for each meter what remains, the seconds until the quota
-- is whole again, and the seconds to wait (-1: admitted). Times within are whole microseconds, which a double holds
-- exactly. Counters are read at first sight and written at the end, so a group that is refused costs no write.

local FIXED, SLIDING, GCRA, DISTINCT_FIXED, DISTINCT_SLIDING, LEASE, ONCE = 1, 2, 3, 4, 5, 6, 7
local ADD, RELEASE, FORGET, RENEW = 10, 16, 17, 18  -- a post adds ADD to the kind of what it counts
local SECOND = 1000000
local STEP_BACK = 3600 * SECOND  -- a time further back than this means that a clock was set
local MOMENT = 1
local GRACE = 10000  -- milliseconds that keys outlive their meaning, so that no clock but ours decides
local SLACK = 1 + 1e-9

local call, floor, ceil, max, min, huge = redis.call, math.floor, math.ceil, math.max, math.min, math.huge
local pack, unpack_, number = struct.pack, struct.unpack, tonumber

local now = number(ARGV[2])
if not now then
  local time = call('TIME')
  now = time[1] * SECOND + time[2]
end

local opened, journal, order, kinds = {}, {}, {}, {}

local function set(state, field, value, gate)
  if gate == 1 then journal[#journal + 1] = {state, field, state[field]} end
  state[field] = value
end

local turn_of = 0  -- the number of the group that is being taken

-- Has a counter written at the end; when the group that first touched it is taken back, it is not.
local function touch(state)
  if not state.dirty then state.dirty = turn_of end
end

-- windows -------------------------------------------------------------------------------------------------------------

-- Finds the window of now, given the one that a counter is at; returns its index and what is left of it.
local function turn(known, window)
  local index = floor(now / window)
  if known and index < known and now > known * window - STEP_BACK then
    return known, window
  end
  return index, (index + 1) * window - now
end

local function slid(carried, left, window)
  if carried <= 0 then return 0 end
  return floor(carried * left / window)
end

local function sliding_wait(carried, counted, room, left, window)
  if room < 0 then return huge end
  if counted > room then
    return left + max(0, window - (floor(room) + 1) / counted * window) + MOMENT
  end
  if counted + slid(carried, left, window) <= room then return 0 end
  return left - (floor(room - counted) + 1) / carried * window + MOMENT
end

local function sliding_reset(carried, counted, left, window)
  if counted > 0 then
    if counted > 1 then return left + window - window / counted end
    return left
  end
  if carried > 0 then return max(0, left - window / carried) end
  return 0
end

-- rates in windows ----------------------------------------------------------------------------------------------------

local function windows()
  local function open_window(key, meter)
    local window, sliding = meter[3], meter[1] % ADD == SLIDING
    local raw = call('GET', key)
    local known, counted, carried
    if raw then known, counted, carried = unpack_('<ddd', raw) end
    local index, left = turn(known, window)
    if not known or index > known + 1 or index < known then
      counted, carried = 0, 0
    elseif index == known + 1 then
      counted, carried = 0, sliding and counted or 0
    end
    return {
      index = index, left = left, counted = counted, carried = carried,
      meter = meter, key = key, write = false, take = false, dirty = false,  -- named here, so that the table never grows
    }
  end

  local function take_window(state, meter, cost, peek)
    local limit, window, gate = meter[2], meter[3], meter[4]
    local sliding, left = meter[1] == SLIDING, state.left
    local counted, carried = state.counted, state.carried
    local load = counted + slid(carried, left, window)
    local want = cost == 0 and 1 or cost
    if gate == 1 and load + want > limit and not peek then
      local room, wait = limit - want, nil
      if sliding then
        wait = sliding_wait(carried, counted, room, left, window)
      else
        wait = room < 0 and huge or left + MOMENT
      end
      return max(0, limit - load), sliding and sliding_reset(carried, counted, left, window) or left, wait
    end
    if cost > 0 then
      counted = counted + cost
      set(state, 'counted', counted, gate)
      touch(state)
    end
    local remaining, reset = limit - load - cost, 0
    if sliding then
      reset = sliding_reset(carried, counted, left, window)
    elseif counted > 0 or (peek and load + 1 > limit) then
      reset = left
    end
    return (peek and gate == 1) and max(0, remaining) or remaining, reset, -1
  end

  local function add_window(state, meter, amount, at)
    local start, window = state.index * meter[3], meter[3]
    local field = 'counted'
    if at < start then
      if meter[1] ~= SLIDING + ADD or at < start - window then return end
      field = 'carried'
    end
    if amount > 0 or state[field] > 0 then
      set(state, field, max(0, state[field] + amount))
      touch(state)
    end
  end

  local function write_window(key, state, meter)
    local lasting = state.left + (meter[1] % ADD == SLIDING and meter[3] or 0)
    call('SET', key, pack('<ddd', state.index, state.counted, state.carried), 'PX', ceil(lasting / 1000) + GRACE)
  end

  return {open = open_window, take = take_window, add = add_window, write = write_window}
end

-- the generic cell rate algorithm, as a bucket that drains ------------------------------------------------------------

local function buckets()
  local function pace_of(meter)
    return max(1, meter[2]) / meter[3]
  end

  local function open_bucket(key, meter)
    local raw = call('GET', key)
    if not raw then return {at = now, level = 0} end
    local at, level = unpack_('<dd', raw)
    if at <= now then return {at = now, level = max(0, level - (now - at) * pace_of(meter))} end
    if at - now < STEP_BACK then return {at = at, level = level} end
    return {at = now, level = 0}
  end

  local function take_bucket(state, meter, cost, peek)
    local limit, gate, pace, level = meter[2], meter[4], pace_of(meter), state.level
    local want = cost == 0 and 1 or cost
    if gate == 1 and level + want > limit * SLACK and not peek then
      local room = limit - want
      local wait = room < 0 and huge or max(0, level - room) / pace + MOMENT
      return max(0, limit - level), level / pace, wait
    end
    if cost > 0 then
      set(state, 'level', min(level + cost, max(limit, level)), gate)
      touch(state)
    end
    local remaining = limit - level - cost
    if gate == 1 then remaining = max(0, remaining) end
    return remaining, (level + cost) / pace, -1
  end

  local function add_bucket(state, meter, amount)
    set(state, 'level', max(0, min(state.level + amount, max(meter[2], state.level))))
    touch(state)
  end

  local function write_bucket(key, state, meter)
    call('SET', key, pack('<dd', state.at, state.level), 'PX', ceil(state.level / pace_of(meter) / 1000) + GRACE)
  end

  return {open = open_bucket, take = take_bucket, add = add_bucket, write = write_bucket}
end

-- different values: a sorted set of hashes, each with the index of the window it was last seen in ---------------------

local function different()
  local function open_values(key, meter)
    local window, sliding = meter[3], meter[1] % ADD == DISTINCT_SLIDING
    local newest = call('ZRANGE', key, -1, -1, 'WITHSCORES')
    local known = newest[2] and number(newest[2])
    local index, left = turn(known, window)
    local state = {index = index, left = left, counted = 0, carried = 0, seen = {}, key = key}
    if known == index then state.counted = call('ZCOUNT', key, index, index) end
    if known and sliding and known >= index - 1 then state.carried = call('ZCOUNT', key, index - 1, index - 1) end
    return state
  end

  -- Tells when a value was seen: 1 in this window, 0 in the one before, false in neither.
  local function seen(state, sliding, value)
    local when = state.seen[value]
    if when == nil then
      local score = number(call('ZSCORE', state.key, value) or nil)
      when = score == state.index and 1 or (sliding and score == state.index - 1 and 0) or false
      state.seen[value] = when
    end
    return when
  end

  local function take_values(state, meter, cost, peek, value)
    local limit, window, gate, left = meter[2], meter[3], meter[4], state.left
    local sliding = meter[1] == DISTINCT_SLIDING
    local when = seen(state, sliding, value)
    local wait = -1
    if when ~= 1 and not peek then
      local carried = state.carried - (when == 0 and 1 or 0)
      if gate == 1 and slid(carried, left, window) + state.counted + 1 > limit then
        if sliding then
          wait = sliding_wait(carried, state.counted, limit - 1, left, window)
        else
          wait = limit < 1 and huge or left + MOMENT
        end
      elseif cost > 0 and state.counted <= limit then  -- a tally is exact up to one more than the limit
        set(state.seen, value, 1, gate)
        set(state, 'counted', state.counted + 1, gate)
        set(state, 'carried', carried, gate)
        touch(state)
      end
    end
    local remaining, reset = limit - state.counted - slid(state.carried, left, window), 0
    if sliding then
      reset = sliding_reset(state.carried, state.counted, left, window)
    elseif state.counted > 0 then
      reset = left
    end
    if gate == 1 then remaining = max(0, remaining) end
    return remaining, reset, wait
  end

  -- A value that is counted for what came of a request is refused nothing; it is exact up to one more than the limit.
  local function add_value(state, meter, _, _, value)
    local when = seen(state, meter[1] % ADD == DISTINCT_SLIDING, value)
    if when ~= 1 and state.counted <= meter[2] then
      state.seen[value] = 1
      state.counted = state.counted + 1
      if when == 0 then state.carried = state.carried - 1 end
      touch(state)
    end
  end

  local function write_values(key, state, meter)
    local index, sliding = state.index, meter[1] % ADD == DISTINCT_SLIDING
    call('ZREMRANGEBYSCORE', key, '-inf', '(' .. string.format('%.0f', sliding and index - 1 or index))
    call('ZREMRANGEBYSCORE', key, '(' .. string.format('%.0f', index), '+inf')
    for value, when in pairs(state.seen) do
      if when == 1 then call('ZADD', key, index, value) end
    end
    local lasting = state.left + (sliding and meter[3] or 0)
    call('PEXPIRE', key, ceil(lasting / 1000) + GRACE)
  end

  return {open = open_values, take = take_values, add = add_value, write = write_values}
end

-- leases: a sorted set of holders, each with the time at which its lease expires --------------------------------------

local function leases()
  local AFTER_NOW = '(' .. string.format('%.0f', now)

  local function open_leases(key)
    local state = {held = call('ZCOUNT', key, AFTER_NOW, '+inf'), granted = false, seen = {}, key = key}
    return state
  end

  local function until_last(state, window)
    if state.granted then return window end
    local newest = call('ZRANGE', state.key, -1, -1, 'WITHSCORES')
    return newest[2] and max(0, number(newest[2]) - now) or 0
  end

  local function until_first(state, window)
    local oldest = call('ZRANGEBYSCORE', state.key, AFTER_NOW, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    if oldest[2] then return number(oldest[2]) - now + MOMENT end
    return state.held > 0 and window + MOMENT or huge
  end

  local function take_leases(state, meter, cost, peek, holder)
    local limit, window, gate = meter[2], meter[3], meter[4]
    local known = state.seen[holder]
    if known == nil then
      known = (number(call('ZSCORE', state.key, holder) or nil) or 0) > now and 0 or false
      state.seen[holder] = known
    end
    if gate == 1 and not known and state.held >= limit and not peek then
      return 0, until_last(state, window), until_first(state, window)
    end
    if cost > 0 and (known or state.held <= limit) then
      if not known then set(state, 'held', state.held + 1, gate) end
      set(state.seen, holder, 1, gate)
      set(state, 'granted', true, gate)
      touch(state)
    end
    return limit - state.held, until_last(state, window), -1
  end

  local function write_leases(key, state, meter)
    call('ZREMRANGEBYSCORE', key, '-inf', now)
    for holder, known in pairs(state.seen) do
      if known == 1 then call('ZADD', key, now + meter[3], holder) end
    end
    call('PEXPIRE', key, ceil(meter[3] / 1000) + GRACE)
  end

  return {open = open_leases, take = take_leases, write = write_leases}
end

-- first uses ----------------------------------------------------------------------------------------------------------

local function uses()
  local function open_use(key, meter)
    local raw = call('GET', key)
    local first = raw and unpack_('<d', raw)
    if first and (now - first >= meter[3] or first - now > STEP_BACK) then first = nil end
    return {first = first or false}
  end

  local function take_use(state, meter, cost, peek)
    local window, gate = meter[3], meter[4]
    if not state.first then
      if cost == 0 then return 1, 0, -1 end
      set(state, 'first', now, gate)
      touch(state)
      return 0, window, -1
    end
    local reset = state.first + window - now
    if gate == 1 then return 0, reset, peek and -1 or reset + MOMENT end
    return cost == 0 and 0 or -1, reset, -1
  end

  local function write_use(key, state, meter)
    call('SET', key, pack('<d', state.first), 'PX', ceil((state.first + meter[3] - now) / 1000) + GRACE)
  end

  return {open = open_use, take = take_use, write = write_use}
end

-- groups --------------------------------------------------------------------------------------------------------------

-- A call pays for each function it makes, a third of a microsecond, so a kind is made when it is met.
local function kind_of(meter)
  local number = meter[1] % ADD
  local kind = kinds[number]
  if not kind then
    if number <= SLIDING then kind = windows()
    elseif number == GCRA then kind = buckets()
    elseif number <= DISTINCT_SLIDING then kind = different()
    elseif number == LEASE then kind = leases()
    else kind = uses() end
    kinds[number] = kind
  end
  return kind
end

local function open(key, meter)
  local kind = kind_of(meter)
  local state = kind.open(key, meter)
  state.meter, state.key, state.write, state.take = meter, key, kind.write, kind.take
  opened[key] = state
  order[#order + 1] = state
  return state
end

local function post(key, meter, value)
  local number = meter[1]
  if number == RELEASE then
    call('ZREM', key, value)
  elseif number == RENEW then
    call('ZADD', key, now + meter[3], value)
    call('PEXPIRE', key, ceil(meter[3] / 1000) + GRACE)
  elseif number == FORGET then
    call('DEL', key)
  else
    local at = meter[6]
    kind_of(meter).add(opened[key] or open(key, meter), meter, meter[5], at > 0 and at or now + at, value)
  end
end

local spec = cmsgpack.unpack(ARGV[1])
local reply = {now}
local key_place, value_place, written = 0, 2, 1

-- Takes back what a group was charged, and says how its meters stand without it. Its first meter has the key after
-- `first`, and its first reading comes after `start` in the reply.
local function refuse(group, values, first, start)
  local function undo()
    for place = #journal, 1, -1 do
      local entry = journal[place]
      entry[1][entry[2]] = entry[3]
    end
    journal = {}
    for place = 1, #order do
      local state = order[place]
      if state.dirty == turn_of and state.meter[4] == 1 then state.dirty = false end
    end
  end

  -- Says how long meters on one counter wait together: those of the group before this one, and this one.
  local function wait_together(place, meter, state, own, reset)
    local key, same, cost = KEYS[first + place], 0, 0
    for before = 1, place - 1 do
      if KEYS[first + before] == key then
        same, cost = same + 1, cost + group[before][5]
      end
    end
    if same == 0 then return own end
    if meter[1] > GCRA then return same >= meter[2] and huge or reset + MOMENT end
    cost = cost + (meter[5] == 0 and 1 or meter[5])
    local _, _, together = state.take(state, meter, cost, false)
    undo()
    return together > 0 and together or MOMENT
  end

  undo()
  for place, meter in ipairs(group) do
    if meter[4] == 1 then
      local at, state = start + 3 * place, opened[KEYS[first + place]]
      local remaining, reset = state.take(state, meter, 0, true, values[place])
      reply[at - 2], reply[at - 1] = remaining, reset
      if reply[at] >= 0 then reply[at] = wait_together(place, meter, state, reply[at], reset) end
    end
  end
end

for number_of_group = 1, #spec do
  local group = spec[number_of_group]
  turn_of = number_of_group
  local values, refused, first, start = {}, false, key_place, written
  for place = 1, #group do
    key_place = key_place + 1
    local meter = group[place]
    local key, number, value = KEYS[key_place], meter[1], nil
    if number > GCRA and number % ADD ~= ONCE and (number <= LEASE or number > ADD + GCRA) then
      value_place = value_place + 1
      value = ARGV[value_place]
      values[place] = value
    end
    if number > ADD then
      post(key, meter, value)
    else
      local state = opened[key] or open(key, meter)
      local remaining, reset, wait = state.take(state, meter, meter[5], false, value)
      reply[written + 1], reply[written + 2], reply[written + 3] = remaining, reset, wait
      written = written + 3
      if wait >= 0 then refused = true end
    end
  end
  if refused and #group > 1 then refuse(group, values, first, start) end
  if journal[1] then journal = {} end
end

for place = 3, written, 3 do
  local wait = reply[place + 1]
  reply[place] = reply[place] / SECOND
  if wait >= 0 then reply[place + 1] = ceil(wait) / SECOND end
end
for place = 1, #order do
  local state = order[place]
  if state.dirty then state.write(state.key, state, state.meter) end
end

return cmsgpack.pack(reply)
