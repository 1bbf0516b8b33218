// The part of Node's API that programs and tests expect: console, timers, require, process, assert.
const shown = (value, depth = 0) => {
  if (typeof value === 'string') return depth ? "'" + value + "'" : value;
  if (typeof value === 'function') return value.name ? `[Function: ${value.name}]` : '[Function (anonymous)]';
  if (typeof value === 'bigint') return value + 'n';
  if (typeof value !== 'object' || value === null) return Object.is(value, -0) ? '-0' : String(value);
  if (value instanceof Error) return String(value.stack ? value + '\n' + value.stack : value);
  if (value instanceof Date) return value.toISOString();
  if (value instanceof RegExp) return String(value);
  if (depth > 4) return Array.isArray(value) ? '[Array]' : '[Object]';
  const inner = item => shown(item, depth + 1);
  const wrap = (open, parts, close) => {
    if (!parts.length) return open.trimEnd() + close.trimStart();
    const line = open + parts.join(', ') + close;
    return line.length <= 76 ? line : open.trimEnd() + ('\n' + parts.join(',\n')).replaceAll('\n', '\n  ') + '\n' + close.trimStart();
  };
  if (Array.isArray(value)) return wrap('[ ', value.map(inner), ' ]');
  if (value instanceof Map) return wrap(`Map(${value.size}) { `, [...value].map(([k, v]) => inner(k) + ' => ' + inner(v)), ' }');
  if (value instanceof Set) return wrap(`Set(${value.size}) { `, [...value].map(inner), ' }');
  const name = value.constructor && value.constructor !== Object ? value.constructor.name + ' ' : '';
  const key = k => /^[A-Za-z_$][\w$]*$/.test(k) ? k : "'" + k + "'";
  return wrap(name + '{ ', Object.entries(value).map(([k, v]) => key(k) + ': ' + inner(v)), ' }');
};
const format = values => {
  if (typeof values[0] === 'string' && values[0].includes('%')) {
    let next = 1;
    const text = values[0].replace(/%[sdifjoOc%]/g, mark => {
      if (mark === '%%') return '%';
      if (next >= values.length) return mark;
      const value = values[next++];
      if (mark === '%d') return String(Number(value));
      if (mark === '%i') return String(parseInt(value));
      if (mark === '%f') return String(parseFloat(value));
      if (mark === '%j') return JSON.stringify(value);
      return mark === '%c' ? '' : shown(value);
    });
    values = [text, ...values.slice(next)];
  }
  return values.map(value => shown(value)).join(' ');
};

class AssertionError extends Error {
  get name() { return 'AssertionError'; }
}

function sameDeep(a, b, strict) {
  if (strict ? Object.is(a, b) : a == b || (a !== a && b !== b)) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (strict && Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  if (a instanceof Date && b instanceof Date) return a.getTime() === b.getTime();
  if (a instanceof Map && b instanceof Map) {
    return a.size === b.size && [...a].every(([k, v]) => b.has(k) && sameDeep(v, b.get(k), strict));
  }
  if (a instanceof Set && b instanceof Set) {
    return a.size === b.size && [...a].every(v => b.has(v) || [...b].some(w => sameDeep(v, w, strict)));
  }
  if (a instanceof Error && b instanceof Error && (a.message !== b.message || a.name !== b.name)) return false;
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length
    && keys.every(key => Object.hasOwn(b, key) && sameDeep(a[key], b[key], strict));
}

function makeAssert(check) {
  const told = (message, otherwise) => message instanceof Error ? message.message : message ?? otherwise;
  const versus = (got, how, expected) => `${shown(got, 1)} ${how} ${shown(expected, 1)}`;
  // A function or a promise is always true, whatever its result: to assert it judges nothing.
  const isLater = value => typeof value === 'function' || value instanceof Promise;
  const assert = (value, message) => isLater(value) || check(Boolean(value), told(message, `${shown(value, 1)} is not true`));
  const compare = (name, how, same) => {
    assert[name] = (got, expected, message) => check(same(got, expected), told(message, versus(got, how, expected)));
  };
  assert.ok = assert;
  compare('equal', 'is not', (a, b) => a == b || (a !== a && b !== b));
  compare('notEqual', 'is', (a, b) => a != b);
  compare('strictEqual', 'is not', (a, b) => Object.is(a, b));
  compare('notStrictEqual', 'is', (a, b) => !Object.is(a, b));
  compare('deepEqual', 'is not', (a, b) => sameDeep(a, b, false));
  compare('deepStrictEqual', 'is not', (a, b) => sameDeep(a, b, true));
  compare('notDeepEqual', 'is', (a, b) => !sameDeep(a, b, false));
  compare('notDeepStrictEqual', 'is', (a, b) => !sameDeep(a, b, true));
  compare('match', 'does not match', (text, pattern) => pattern.test(text));
  const fits = (error, expected) => {
    if (expected === undefined) return true;
    if (expected instanceof RegExp) return expected.test(String(error));
    if (typeof expected === 'function') {
      return error instanceof expected || (!(expected.prototype instanceof Error) && expected(error) === true);
    }
    return Object.keys(expected).every(key => sameDeep(error[key], expected[key], true));
  };
  assert.throws = (action, expected, message) => {
    if (typeof expected === 'string') [expected, message] = [undefined, expected];
    let thrown = false, error;
    try { action(); } catch (caught) { [thrown, error] = [true, caught]; }
    check(thrown && fits(error, expected), told(message, thrown ? `threw ${error}` : 'nothing was thrown'));
  };
  assert.doesNotThrow = (action, message) => {
    try { action(); } catch (error) { check(false, told(message, `threw ${error}`)); }
    check(true, '');
  };
  assert.rejects = async (promise, expected) => {
    let thrown = false, error;
    try { await (typeof promise === 'function' ? promise() : promise); } catch (caught) { [thrown, error] = [true, caught]; }
    check(thrown && fits(error, expected), thrown ? `rejected with ${error}` : 'nothing was rejected');
  };
  assert.fail = message => check(false, told(message, 'failed'));
  assert.strict = assert;
  assert.AssertionError = AssertionError;
  return assert;
}

function load(std, path) {
  const module = {exports: {}};
  const text = std.loadFile(path);
  new Function('module', 'exports', 'global', text).call(module.exports, module, module.exports, globalThis);
  return module.exports;
}
const preloaded = Object.create(null);

// The harness's own timers: `settle` sleeps on the program's clock until a timer is due, then runs its action.
const timers = [];
function makeNode(std, os, assertion, more) {
  const write = (file, text) => { file.puts(text + '\n'); file.flush(); };
  const noted = Object.create(null);
  const console = {
    log: (...values) => write(std.out, format(values)),
    error: (...values) => write(std.err, format(values)),
    assert: (value, ...values) => typeof value === 'function' || value instanceof Promise || assertion(Boolean(value), values.length ? format(values) : 'the assertion is false'),
    table: value => write(std.out, shown(value)),
    dir: value => write(std.out, shown(value)),
    count: (label = 'default') => write(std.out, `${label}: ${noted[label] = (noted[label] ?? 0) + 1}`),
    time() {}, timeEnd() {}, timeLog() {}, group() {}, groupEnd() {}, trace() {}, clear() {},
  };
  console.info = console.debug = console.log;
  console.warn = console.error;
  let last = 0;
  const later = (action, time, values, every) => {
    const timer = {id: ++last, due: Date.now() + Math.max(1, Number(time) || 0), action, values, every,
      unref() { return this; }, ref() { return this; }, [Symbol.toPrimitive]() { return this.id; }};
    timers.push(timer);
    return timer;
  };
  const clear = timer => {
    const at = timers.findIndex(t => t === timer || t.id === Number(timer));
    if (at >= 0) timers.splice(at, 1);
  };
  const modules = {...preloaded};
  const libraries = {lodash: '/lib/lodash.js', underscore: '/lib/lodash.js', 'js-md5': '/lib/md5.js'};
  const assert = makeAssert((ok, message) => assertion(ok, message, true));
  const lines = () => { let text = '', line; while ((line = std.in.getline()) !== null) text += line + '\n'; return text; };
  const fs = {
    readFileSync: path => {
      const text = path === 0 || path === '/dev/stdin' ? lines() : std.loadFile(String(path));
      if (text === null) throw Object.assign(new Error(`ENOENT: no such file or directory, open '${path}'`), {code: 'ENOENT'});
      return text;
    },
    existsSync: path => os.stat(String(path))[1] === 0,
    writeFileSync: (path, text) => { const file = std.open(String(path), 'w'); file.puts(String(text)); file.close(); },
  };
  const util = {inspect: value => shown(value, 1), format: (...values) => format(values),
    isDeepStrictEqual: (a, b) => sameDeep(a, b, true), promisify: f => (...args) => new Promise((done, fail) =>
      f(...args, (error, value) => error ? fail(error) : done(value)))};
  const readline = {createInterface: () => {
    const heard = {}, all = lines().split('\n').slice(0, -1);
    const face = {on(event, action) {
      heard[event] = action;
      if (event === 'line') queueMicrotask(() => { for (const line of all.splice(0)) action(line); heard.close?.(); });
      return face;
    }, question(text, action) { std.out.puts(text); queueMicrotask(() => action(all.shift() ?? '')); },
    close() { heard.close?.(); }, async *[Symbol.asyncIterator]() { yield* all.splice(0); }};
    return face;
  }};
  const own = {assert, 'assert/strict': assert, fs, util, readline, timers: {}, perf_hooks: {performance},
    os: {EOL: '\n'}, path: {join: (...parts) => parts.join('/')}};
  function require(name) {
    name = String(name).replace(/^node:/, '');
    const found = more?.(name);
    if (found !== undefined) return found;
    if (name in own) return own[name];
    if (!(name in libraries)) throw Object.assign(new Error(`Cannot find module '${name}'`), {code: 'MODULE_NOT_FOUND'});
    return modules[libraries[name]] ??= load(std, libraries[name]);
  }
  const exit = code => { std.out.flush(); std.exit(Number(code ?? 0)); };
  const process = {argv: ['node', 'program.js'], env: {}, exit, platform: 'wasi', version: 'v20.0.0', versions: {},
    nextTick: (action, ...values) => queueMicrotask(() => action(...values)), on() { return this; },
    hrtime: Object.assign(() => [Math.floor(Date.now() / 1000), 0], {bigint: () => BigInt(Date.now()) * 1000000n}),
    memoryUsage: () => ({heapUsed: 0}), cwd: () => '/tmp', uptime: () => 0, exitCode: 0,
    stdout: {write: text => { std.out.puts(String(text)); std.out.flush(); return true; }},
    stderr: {write: text => { std.err.puts(String(text)); std.err.flush(); return true; }},
    stdin: {on(event, action) {
      if (event === 'data') queueMicrotask(() => action(lines()));
      if (event === 'end') queueMicrotask(() => queueMicrotask(action));
      return this;
    }, setEncoding() { return this; }, resume() { return this; }, fd: 0}};
  const module = {exports: {}};
  const values = {console, process, require, module, exports: module.exports, global: globalThis,
    setTimeout: (action, time, ...more) => later(action, time, more), clearTimeout: clear, clearInterval: clear,
    setInterval: (action, time, ...more) => later(action, time, more, true),
    setImmediate: (action, ...more) => later(action, 0, more), clearImmediate: clear,
    structuredClone: value => unpack(pack(value, () => { throw new TypeError('cannot be cloned'); }), () => undefined)};
  for (const name of Object.keys(values)) {
    Object.defineProperty(globalThis, name, {value: values[name], writable: true, configurable: true});
  }
  return {require, assert};
}

/// Runs jobs and timers until `promise` is settled; without a promise, until no timer is left.
async function settle(os, promise) {
  const setTimeout = os.setTimeout, sleep = os.sleep;
  let state = promise === undefined ? 'none' : 'open', result;
  if (promise !== undefined) promise.then(value => { [state, result] = ['done', value]; }, e => { [state, result] = ['failed', e]; });
  // QuickJS checks its timers after each job, so a chain of promises takes many turns of the loop below.
  let idle = 0;
  for (;;) {
    await new Promise(turn => setTimeout(turn, 0));
    if (state === 'done') return result;
    if (state === 'failed') throw result;
    if (!timers.length) {
      if (++idle < (state === 'none' ? 64 : 10000)) continue;
      if (state === 'none') return undefined;
      throw new Error('a promise that nobody settles');
    }
    idle = 0;
    const timer = timers.reduce((a, b) => b.due < a.due ? b : a);
    const wait = timer.due - Date.now();
    if (wait > 0) sleep(wait);
    if (timer.every) timer.due += Math.max(1, wait); else timers.splice(timers.indexOf(timer), 1);
    timer.action(...timer.values);
  }
}
