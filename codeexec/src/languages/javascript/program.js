// The program's side of the harness. The judge does not trust it: it only runs the program and transfers values.
async function runProgram(door, std, os) {
  const {stringify, parse} = JSON;
  makeNode(std, os, (ok, message, throws) => {
    if (ok) return;
    if (throws) throw new AssertionError(message);
    std.err.puts('Assertion failed: ' + message + '\n');
  });
  const objects = new Map(), numbers = new Map();
  const keep = value => {
    let id = numbers.get(value);
    if (id === undefined) {
      id = objects.size + 1;
      objects.set(id, value);
      numbers.set(value, id);
    }
    const name = typeof value === 'function' ? value.name : value?.constructor?.name;
    return {$: 'o', id, c: String(name ?? typeof value), f: typeof value === 'function'};
  };
  const find = packed => {
    if (packed.id > 0) return objects.get(packed.id);
    // A function of the judge: calling it sends a callback message to the judge.
    return (...args) => {
      say('R' + stringify({callback: packed.id, args: pack(args, keep)}));
      return obey(parse(say('N')), true);
    };
  };
  const say = message => {
    std.out.flush();
    door.out.puts(message + '\n');
    door.out.flush();
    return door.in.getline();
  };
  const failure = error => {
    const isError = error instanceof Error;
    const name = isError ? String(error.name) : 'thrown';
    const message = isError ? String(error.message) : format([error]);
    const stack = isError ? String(error.stack).split('\n').filter(line => !line.includes('harness.js')).join('\n') : '';
    return {class: name, message: message.slice(0, 2000), value: isError ? undefined : pack(error, keep),
      traceback: `${name}: ${message}\n${stack}`.slice(0, 20000)};
  };
  // The value of a name, or of an expression such as `new Solution().twoSum`.
  const named = name => {
    const method = /^(?:new\s+)?([\p{ID_Start}$_][\p{ID_Continue}$]*)\s*(\(\))?\s*\.\s*([\p{ID_Start}$_][\p{ID_Continue}$]*)$/u.exec(name);
    if (method) {
      const owner = (0, eval)(method[1]);
      const on = method[2] ? new owner() : owner;
      return typeof on[method[3]] === 'function' ? on[method[3]].bind(on) : on[method[3]];
    }
    return (0, eval)(/^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(name) ? name : 'undefined');
  };
  const global = name => {
    try {
      return named(name);
    } catch (error) {
      if (!(error instanceof ReferenceError)) throw error;
      let solution;
      try { solution = named('Solution'); } catch { }
      if (typeof solution === 'function' && typeof solution.prototype?.[name] === 'function') return named(`Solution().${name}`);
      const {exports} = globalThis.module ?? {};
      if (exports && typeof exports === 'object' && Object.hasOwn(exports, name)) return exports[name];
      if (typeof exports === 'function' && (exports.name === name || exports.name === '')) return exports;
      throw error;
    }
  };
  const SYMBOLS = {iterator: Symbol.iterator, asyncIterator: Symbol.asyncIterator, toPrimitive: Symbol.toPrimitive};
  const key = name => typeof name === 'string' ? name : SYMBOLS[name[0]];

  /// Answers the judge's requests during a callback; returns the callback's result, or throws its exception.
  function obey(ask, isCalledBack) {
    while (isCalledBack) {
      if ('result' in ask) return unpack(ask.result, find);
      if ('thrown' in ask) throw unpack(ask.thrown, find);
      say('R' + stringify(answer(ask)));
      ask = parse(say('N'));
    }
  }
  const operations = {
    call: ask => apply(ask.name !== undefined ? global(ask.name) : find(ask.on), ask.self ? find(ask.self) : undefined, ask),
    new: ask => apply(find(ask.on), null, ask),
    defined: ask => ask.names.filter(name => { try { return global(name) !== undefined; } catch { return false; } }),
    name: ask => global(ask.name),
    get: ask => find(ask.on)[key(ask.key)],
    has: ask => key(ask.key) in find(ask.on),
    set: ask => { find(ask.on)[key(ask.key)] = unpack(ask.value, find); },
    keys: ask => Reflect.ownKeys(find(ask.on)).filter(k => typeof k === 'string'),
    enumerable: ask => Object.prototype.propertyIsEnumerable.call(find(ask.on), ask.key),
    prototype: ask => Object.getPrototypeOf(find(ask.on)),
  };
  let changed;
  function apply(target, self, ask) {
    const args = unpack(ask.args, find);
    if (typeof target !== 'function') throw new TypeError(`${ask.name ?? 'it'} is not a function`);
    const isMutable = args.some(arg => typeof arg === 'object' && arg !== null);
    const before = isMutable && stringify(pack(args, keep));
    const result = self === null ? Reflect.construct(target, args) : Reflect.apply(target, self, args);
    if (isMutable) {
      const after = pack(args, keep);
      if (stringify(after) !== before) changed = after;
    }
    return result;
  }
  function answer(ask) {
    changed = undefined;
    try {
      const value = operations[ask.op](ask);
      // A prototype is sent as a handle although it looks like a plain object: its identity matters.
      if (ask.op === 'prototype' || ask.key === 'prototype') return {value: value && keep(value)};
      if (typeof value?.then === 'function' && value instanceof Promise) return {promise: keep(value), changed};
      return {value: pack(value, keep), changed};
    } catch (error) {
      return {raised: failure(error)};
    }
  }
  try {
    const {code} = parse(say('P'));
    try {
      std.err.flush();
      const run = text => {
        const file = std.open('/tmp/program.js', 'w');
        file.puts(text);
        file.close();
        try { std.loadScript('/tmp/program.js'); } finally { os.remove('/tmp/program.js'); }
      };
      try {
        run(code);
      } catch (error) {
        // Removes the exports of an ES module: the definitions are enough here.
        const plain = code.replace(/^(\s*)export\s+(default\s+)?(?=(async\s+)?(function|class|const|let|var)\b)/gm, '$1')
          .replace(/^\s*export\s*(default\s+[\w$]+|\{[^}]*\})\s*;?\s*$/gm, '');
        if (!(error instanceof SyntaxError) || plain === code) throw error;
        run(plain);
      }
      await settle(os);
    } catch (error) {
      say('L' + stringify({raised: failure(error)}));
      return;
    }
    say('L' + stringify({loaded: null}));
    for (;;) {
      const text = say('N');
      if (!text) return;
      const ask = parse(text);
      let reply;
      if (ask.op === 'await') {
        try {
          reply = {value: pack(await settle(os, find(ask.on)), keep)};
        } catch (error) {
          reply = {raised: failure(error)};
        }
      } else {
        reply = answer(ask);
      }
      say('R' + stringify(reply));
    }
  } finally {
    std.out.flush();
  }
}
