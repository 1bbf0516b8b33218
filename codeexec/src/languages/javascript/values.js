// Encodes the values that the program's interpreter and the judge's exchange as JSON text (see packed.rs). Additional tags:
// `m` Map (pairs), `t` Date (milliseconds), `x` RegExp (source, flags), `a` typed array (`c`: its class), `e` Error
// (`c`: its name, `m`: its message). An object that is not data is sent as a handle: `id`, `c` its class, `f` whether callable.
const DEPTH = 200;
const TYPED = ['Int8Array', 'Uint8Array', 'Uint8ClampedArray', 'Int16Array', 'Uint16Array', 'Int32Array', 'Uint32Array',
  'Float32Array', 'Float64Array'];
const ERRORS = {Error, TypeError, RangeError, SyntaxError, ReferenceError, EvalError, URIError};

function pack(value, keep, depth = 0) {
  switch (typeof value) {
    case 'string': case 'boolean': return value;
    case 'number': return Number.isFinite(value) && !Object.is(value, -0) ? value
      : {$: 'n', v: Object.is(value, -0) ? '-0' : String(value)};
    case 'undefined': return {$: 'u'};
    case 'bigint': return {$: 'i', v: String(value)};
    case 'object': break;
    default: return keep(value);
  }
  if (value === null) return null;
  if (depth > DEPTH) return keep(value);
  const items = list => list.map(item => pack(item, keep, depth + 1));
  const pairs = list => list.map(([k, v]) => [pack(k, keep, depth + 1), pack(v, keep, depth + 1)]);
  const kind = Object.getPrototypeOf(value);
  if (kind === Array.prototype) return items(Array.from(value));
  if (kind === Object.prototype || kind === null) return {$: 'd', v: pairs(Object.entries(value))};
  if (kind === Map.prototype) return {$: 'm', v: pairs([...value])};
  if (kind === Set.prototype) return {$: 's', v: items([...value])};
  if (kind === Date.prototype) return {$: 't', v: value.getTime()};
  if (kind === RegExp.prototype) return {$: 'x', v: [value.source, value.flags]};
  if (kind === Number.prototype || kind === String.prototype || kind === Boolean.prototype) return keep(value);
  if (value instanceof Error) return {$: 'e', c: String(value.name), m: String(value.message)};
  const name = kind && kind.constructor && kind.constructor.name;
  if (TYPED.includes(name)) return {$: 'a', c: name, v: items(Array.from(value))};
  return keep(value);
}

function unpack(packed, find) {
  if (typeof packed !== 'object' || packed === null) return packed;
  if (Array.isArray(packed)) return packed.map(item => unpack(item, find));
  const items = () => packed.v.map(item => unpack(item, find));
  switch (packed.$) {
    case 'n': return Number(packed.v);
    case 'u': return undefined;
    case 'i': return BigInt(packed.v);
    case 'd': {
      const object = {};
      for (const [key, value] of items()) {
        Object.defineProperty(object, key, {value, writable: true, enumerable: true, configurable: true});
      }
      return object;
    }
    case 'm': return new Map(items());
    case 's': return new Set(items());
    case 't': return new Date(packed.v === null ? NaN : packed.v);
    case 'x': return new RegExp(String(packed.v[0]), String(packed.v[1]));
    case 'a': return new globalThis[TYPED.includes(packed.c) ? packed.c : 'Float64Array'](items());
    case 'e': return error(packed.c, packed.m);
    case 'o': return find(packed);
    default: throw new TypeError('an unknown tag');
  }
}

function error(name, message) {
  const made = new (Object.hasOwn(ERRORS, name) ? ERRORS[name] : Error)(String(message));
  if (made.name !== name) Object.defineProperty(made, 'name', {value: String(name), configurable: true, writable: true});
  return made;
}

/// Copies the content of `now` into `old`: an argument that a call in the other interpreter has changed.
function update(old, now) {
  if (Array.isArray(old) && Array.isArray(now)) {
    old.length = 0;
    for (const item of now) old.push(item);
  } else if (old instanceof Map && now instanceof Map) {
    old.clear();
    now.forEach((value, key) => old.set(key, value));
  } else if (old instanceof Set && now instanceof Set) {
    old.clear();
    now.forEach(value => old.add(value));
  } else if (old && now && Object.getPrototypeOf(old) === Object.prototype && typeof now === 'object') {
    for (const key of Object.keys(old)) delete old[key];
    Object.assign(old, now);
  }
}
