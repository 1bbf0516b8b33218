// The judge's side of the harness. It runs in a separate interpreter, which the program cannot reach. It calls the program's
// functions, receives the results as data, and compares them with the expected values here.
class ProgramEnded extends Error {
  get name() { return 'ProgramEnded'; }
}

async function runJudge(door, std, os) {
  const {stringify, parse} = JSON;
  const say = message => {
    std.out.flush();
    door.out.puts(message + '\n');
    door.out.flush();
    return door.in.getline();
  };
  const own = new Map(), numbers = new Map(), remotes = new Map(), thrown = new Set();
  // `uses`: how often the tests have called the program or read from it, in total.
  let calls = 0, uses = 0, raised, last = '', lastName;

  const keep = value => {
    const description = remotes.get(value);
    if (description) return description;
    if (typeof value !== 'function') throw new TypeError('the tests cannot pass objects of their own classes to the program');
    let id = numbers.get(value);
    if (id === undefined) {
      id = -(own.size + 1);
      own.set(id, value);
      numbers.set(value, id);
    }
    return {$: 'o', id};
  };
  const handles = new Map();
  const find = packed => {
    if (packed.id < 0) return own.get(packed.id);
    let proxy = handles.get(packed.id);
    if (!proxy) {
      proxy = remote({$: 'o', id: packed.id, c: String(packed.c), f: packed.f === true});
      handles.set(packed.id, proxy);
    }
    return proxy;
  };
  function remote(on) {
    const key = name => typeof name === 'string' ? name : [name.description?.replace('Symbol.', '') ?? ''];
    const isKnown = name => typeof name === 'string' || [Symbol.iterator, Symbol.asyncIterator, Symbol.toPrimitive].includes(name);
    const proxy = new Proxy(on.f ? function () {} : {}, {
      apply: (_, self, args) => call({op: 'call', on, self: remotes.get(self), args}),
      construct: (_, args) => call({op: 'new', on, args}),
      get: (_, name) => isKnown(name) ? ask({op: 'get', on, key: key(name)}) : undefined,
      set: (_, name, value) => { ask({op: 'set', on, key: key(name), value: pack(value, keep)}); return true; },
      has: (_, name) => isKnown(name) && ask({op: 'has', on, key: key(name)}) === true,
      ownKeys: target => [...new Set([...Reflect.ownKeys(target).filter(k => !Reflect.getOwnPropertyDescriptor(target, k).configurable),
        ...ask({op: 'keys', on}).map(String)])],
      getOwnPropertyDescriptor: (target, name) => {
        const fixed = Reflect.getOwnPropertyDescriptor(target, name);
        if (fixed && !fixed.configurable) return fixed;
        if (typeof name !== 'string' || ask({op: 'has', on, key: name}) !== true) return undefined;
        const enumerable = ask({op: 'enumerable', on, key: name}) === true;
        return {value: ask({op: 'get', on, key: name}), writable: true, enumerable, configurable: true};
      },
      getPrototypeOf: () => ask({op: 'prototype', on}),
    });
    remotes.set(proxy, on);
    return proxy;
  }
  function exchange(request) {
    uses += !['defined', 'name'].includes(request.op);
    let answer = say('C' + stringify(request));
    for (;;) {
      if (answer === null || answer[0] !== '0') throw new ProgramEnded(String(answer).slice(1));
      const reply = parse(answer.slice(1));
      if (reply === null || typeof reply !== 'object') throw new TypeError('not a reply');
      if (!('callback' in reply)) return reply;
      let back;
      try {
        back = {result: pack(own.get(reply.callback)(...unpack(reply.args, find)), keep)};
      } catch (error) {
        back = {thrown: pack(error, keep)};
      }
      answer = say('C' + stringify(back));
    }
  }
  function settled(reply) {
    if (reply.raised) {
      const {class: name, message, value, traceback} = reply.raised;
      raised = String(traceback);
      const error_ = value === undefined ? error(String(name), String(message)) : unpack(value, find);
      thrown.add(error_);
      throw error_;
    }
    if (reply.promise) {
      const promise = (async () => unpack(exchangeValue({op: 'await', on: reply.promise}), find))();
      promise.catch(() => {});
      return promise;
    }
    return unpack(reply.value, find);
  }
  const exchangeValue = request => {
    const reply = exchange(request);
    if (reply.raised) settled(reply);
    return reply.value;
  };
  const ask = request => settled(exchange(request));
  function call(request) {
    calls++;
    lastName = request.name ?? request.on?.c;
    const {args} = request;
    const shownCall = (request.name ?? request.on?.c) + '(' + args.map(arg => shown(arg, 1)).join(', ') + ')';
    last = '';
    const reply = exchange({...request, args: pack(args, keep)});
    if (reply.changed) unpack(reply.changed, find).forEach((now, i) => update(args[i], now));
    const result = settled(reply);
    last = (shownCall + ' returned ' + shown(result, 1)).slice(0, 400);
    return result;
  }

  /// Defines the program's names that the tests use as globals of the judge.
  const bound = new Set();
  function bind(text, entryPoint) {
    const words = new Set(text.match(/[\p{ID_Start}$_][\p{ID_Continue}$]*/gu) ?? []);
    isUsed ||= entryPoint !== undefined && (words.has('candidate') || words.has(entryPoint));
    if (entryPoint) words.add(entryPoint);
    // Whether the tests use a name such as `test` as a test runner's function.
    const isRunners = name => ['test', 'it', 'describe'].includes(name) && new RegExp('\\b' + name + '\\s*\\(\\s*[\'"`]').test(text)
      || name === 'expect' && /\bexpect\s*\(/.test(text);
    const names = [...words].filter(name => !bound.has(name)
      && (name === entryPoint || !(name in globalThis) && !isRunners(name)));
    for (const name of names.length ? ask({op: 'defined', names}) : []) {
      bound.add(name);
      // Words of the language are always defined, so they do not count as use of the program.
      isUsed ||= name !== entryPoint && !['true', 'false', 'null', 'this'].includes(name);
      Object.defineProperty(globalThis, name, {configurable: true, get: () => {
        const value = ask({op: 'name', name});
        if (!remotes.get(value)?.f) {
          uses++;
          return value;
        }
        const target = remotes.get(value);
        return new Proxy(value, {apply: (_, self, args) => call({op: 'call', on: {...target, c: name}, args})});
      }, set: value => Object.defineProperty(globalThis, name, {value, writable: true, configurable: true})});
    }
  }

  const job = parse(say('T'));
  // `results` has one result for each source line with an assertion, so an assertion in a loop has one result.
  let source = [], file = '', results = new Map(), checks = 0;
  const assertion = (ok, message, throws) => {
    const at = new Error().stack.match(new RegExp(file + ':(\\d+)'));
    const name = (at && source[Number(at[1]) - 1]?.trim()) || 'assertion ' + (checks + 1);
    if (ok && judgesNothing(name)) return;
    checks++;
    if (!ok && !(results.get(name)?.passed === false)) {
      results.set(name, {name, passed: false, message: [message, last].filter(Boolean).join('; '), kind: 'failed', traceback: raised});
    } else if (ok && !results.has(name)) {
      results.set(name, {name, passed: true, message: '', kind: 'passed'});
    }
    if (!ok && throws) throw new AssertionError(message);
  };
  // `swallowed`: an exception that the tests threw and caught themselves, which is a failure.
  let swallowed, isUsed = false, hasPassed = false;
  const isOwn = error_ => {
    if (thrown.has(error_) || error_ instanceof ProgramEnded) return false;
    if (!(error_ instanceof Error)) return true;
    const at = String(error_.stack).match(/(?:tests\.js|<eval\w*>):(\d+)/);
    return Boolean(at) && /\bthrow\b/.test(source[Number(at[1]) - 1] ?? '');
  };
  // Whether the program threw an exception inside an assertion or a condition of the tests, which is a failure.
  const isInAssertion = error_ => {
    if (!thrown.has(error_) && !(error_ instanceof ProgramEnded)) return false;
    const at = error_ instanceof Error && String(error_.stack).match(/(?:tests\.js|<eval\w*>):(\d+)/);
    const line = at ? source[Number(at[1]) - 1] ?? '' : '';
    // That is so if every call of the function in that line is inside an assertion or a condition.
    const places = [...line.matchAll(/([\p{ID_Start}$_][\p{ID_Continue}$]*)\s*\(/gu)].filter(match => match[1] === lastName);
    return places.length > 0 && places.every(match =>
      /\b(?:if\s*\(|assert[\w.]*\s*\(|expect\s*\()[^;{]*$/.test(line.slice(0, match.index)));
  };
  Object.defineProperty(globalThis, '__codeexec_caught', {value: error_ => {
    if (swallowed === undefined && (isOwn(error_) || isInAssertion(error_))) swallowed = error_;
  }});
  const watched = text => withWatchedFinally(text)
    .replace(/\bcatch\s*\(\s*([\p{ID_Start}$_][\p{ID_Continue}$]*)\s*\)\s*\{/gu, 'catch ($1) {__codeexec_caught($1);')
    .replace(/\bcatch\s*\{/g, 'catch (__codeexec_error) {__codeexec_caught(__codeexec_error);');
  // A rejection handler of a promise counts as a `catch`.
  const plainThen = Promise.prototype.then;
  Promise.prototype.then = function (done, failed) {
    return plainThen.call(this, done, typeof failed !== 'function' ? failed : error_ => {
      if (error_ instanceof Error) __codeexec_caught(error_);
      return failed(error_);
    });
  };
  const ownFailure = name => ({name, passed: false, kind: 'failed',
    message: 'the tests caught their own failure: ' + (swallowed instanceof Error ? swallowed.message : format([swallowed]))});
  let runner;
  const {assert} = makeNode(std, os, assertion, name => {
    if (['test', '@jest/globals', 'vitest', 'mocha', 'bun:test'].includes(name)) return runner.module;
    if (name === 'chai') return {expect: runner.names.expect, assert};
    // The program, imported as a module.
    if (/^\.{0,2}\//.test(name) || ['solution', 'program', 'index', 'main'].includes(name)) return programModule();
    return undefined;
  });
  runner = makeRunner(assertion, assert);
  Object.defineProperty(globalThis, 'assert', {value: assert, writable: true, configurable: true});
  const report = result => {
    hasPassed ||= result.passed;
    return tell(result);
  };
  const tell = result => say('D' + stringify({...result, name: result.name.slice(0, 300), message: result.message.slice(0, 4000)}));
  const explained = (name, error_) => {
    const ofProgram = thrown.has(error_) || error_ instanceof ProgramEnded;
    // `isMissing`: the tests call a function that does not exist. (mxeval's own messages name a variable that mxeval never made.)
    const name_ = error_ instanceof ReferenceError && /^'?([^\s']+)'? is not defined/.exec(error_.message)?.[1];
    const isMissing = name_ && (name_ === job.entry_point || new RegExp('(?<![\\w$.])' + name_.replaceAll('$', '\\$') + '\\s*\\(').test(source.join('\n')));
    const broken = ofProgram || error_ instanceof SyntaxError || isMissing;
    const text = error_ instanceof Error ? (error_ instanceof AssertionError ? error_.message : `${error_.name}: ${error_.message}`)
      : format([error_]);
    const isMemory = error_ instanceof Error && /out of memory/.test(error_.message);
    return {name, passed: false, message: ofProgram || !last ? text : `${text}; ${last}`,
      kind: isMemory ? 'memory' : broken ? 'error' : 'failed', traceback: ofProgram ? raised : undefined};
  };
  const programValue = name => {
    if (!ask({op: 'defined', names: [name]}).length) return undefined;
    const value = ask({op: 'name', name});
    uses += !remotes.get(value)?.f;
    if (!remotes.get(value)?.f) return value;
    const target = remotes.get(value);
    return new Proxy(value, {apply: (_, self, args) => call({op: 'call', on: {...target, c: name}, args})});
  };
  const programModule = () => (isUsed = true) && new Proxy(function () {}, {
    get: (_, name) => typeof name !== 'string' || ['then', '__esModule'].includes(name) ? undefined
      : name === 'default' ? programValue(job.entry_point ?? 'default') : programValue(name),
    has: (_, name) => typeof name === 'string' && ask({op: 'defined', names: [name]}).length > 0,
    // `module.exports = f`, imported under any name.
    apply: (_, self, args) => programValue(job.entry_point)(...args),
  });
  /// Replaces ES module imports by calls of `require`.
  const withoutImports = text => text
    .replace(/^[ \t]*import\s+\*\s+as\s+([\w$]+)\s+from\s+(['"][^'"]+['"])\s*;?/gm, 'const $1 = require($2);')
    .replace(/^[ \t]*import\s+([\w$]+)\s*,\s*(\{[^}]*\})\s*from\s+(['"][^'"]+['"])\s*;?/gm,
      (_, name, names, from) => `const ${name} = require(${from}).default ?? require(${from}); const ${names.replace(/\s+as\s+/g, ': ')} = require(${from});`)
    .replace(/^[ \t]*import\s+(\{[^}]*\})\s*from\s+(['"][^'"]+['"])\s*;?/gm, (_, names, from) => `const ${names.replace(/\s+as\s+/g, ': ')} = require(${from});`)
    .replace(/^[ \t]*import\s+([\w$]+)\s+from\s+(['"][^'"]+['"])\s*;?/gm, 'const $1 = require($2).default ?? require($2);');
  /// Defines the names of test runners that the tests use as globals, unless the names are defined already.
  const install = text => {
    for (const [name, value] of Object.entries(runner.names)) {
      if (!bound.has(name) && !(name in globalThis) && new RegExp('(?<![\\w$.])' + name + '\\s*[(.]').test(text)) {
        Object.defineProperty(globalThis, name, {value, writable: true, configurable: true});
      }
    }
  };
  /// Runs a test source as a script.
  async function evaluate(text) {
    text = watched(withoutImports(text));
    source = text.split('\n');
    file = '/tmp/tests.js';
    const out = std.open(file, 'w');
    out.puts(text);
    out.close();
    bind(text, job.entry_point);
    install(text);
    if (/\bawait\b/.test(text)) return (await std.evalScript(text, {async: true}))?.value;
    const value = std.loadScript(file);
    await settle(os);
    return value;
  }
  const NOTHING = 'no test was reached: no comparison was evaluated (an assertion, a test of a runner), so nothing was judged';
  /// Whether a test without assertions has judged: it called the program, and reports a failure by an exception or an exit.
  const judges = text => calls > 0 && /\bthrow\b|\bprocess\s*\.\s*exit\b/.test(text);
  /// Names of the test functions that a source defines but does not call.
  const collected = text => [...text.matchAll(/^(?:async\s+)?function\s+(test\w*)\s*\(\s*\)/gm)].map(match => match[1])
    .filter(name => typeof globalThis[name] === 'function' && !new RegExp('^' + name + '\\s*\\(', 'm').test(text));
  /// Runs the test functions, and the tests that are registered with the runner; returns the number of tests.
  async function cases(text) {
    let count = 0;
    const run = async (name, action) => {
      count++;
      [results, checks, calls, raised, last, swallowed] = [new Map(), 0, 0, undefined, '', undefined];
      let error_, isThrown = false;
      try {
        await settle(os, (async () => action())());
        // A promise that nobody waits for may still be rejected.
        await settle(os);
      } catch (caught) {
        [error_, isThrown] = [caught, true];
      }
      const failed = [...results.values()].find(result => !result.passed);
      if (failed) report({...failed, name});
      else if (isThrown) report(explained(name, error_));
      else if (swallowed !== undefined) report(ownFailure(name));
      else if (!checks && !judges(text)) report({name, passed: false, message: NOTHING, kind: 'error'});
      else report({name, passed: true, message: '', kind: 'passed'});
    };
    for (const name of collected(text)) await run(name, () => globalThis[name]());
    await runner.runAll(run);
    return count;
  }
  /// Runs one test source; returns its results.
  async function test(name, text) {
    [results, checks, calls, raised, last, swallowed] = [new Map(), 0, 0, undefined, '', undefined];
    let value, error_, isThrown = false;
    try {
      value = await evaluate(text);
    } catch (caught) {
      [error_, isThrown] = [caught, true];
    }
    return {all: [...results.values()], isThrown, error_, value};
  }
  if (job.setup?.trim()) {
    try {
      await evaluate(job.setup);
    } catch (error_) {
      report(explained('setup', error_));
      say('E');
      return;
    }
  }
  if (job.kind === 'asserts') {
    for (const text of job.tests) {
      const {all, isThrown, error_, value} = await test(text, `{${text}\n}`);
      const failed = all.find(result => !result.passed);
      if (failed) report({...failed, name: text});
      else if (isThrown) report(explained(text, error_));
      else if (swallowed !== undefined) report(ownFailure(text));
      else if (value === false) report({name: text, passed: false, message: last || 'it is false', kind: 'failed'});
      else {
        const isJudged = all.length > 0 || value === true || judges(text);
        const count = await cases(text);
        if (isJudged) report({name: text, passed: true, message: '', kind: 'passed'});
        else if (!count) report({name: text, passed: false, message: NOTHING, kind: 'error'});
      }
    }
  } else if (job.kind === 'script') {
    const name = job.entry_point ? `check(${job.entry_point})` : 'tests';
    const calling = /\bfunction\s+check\s*\(|\bcheck\s*=/.test(job.test) && !/^\s*check\s*\(/m.test(job.test) && job.entry_point
      ? `\ncheck(${/^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(job.entry_point) ? job.entry_point : 'candidate'});` : '';
    if (calling.includes('(candidate)')) {
      globalThis.candidate = (...args) => call({op: 'call', name: job.entry_point, args});
    }
    const {all, isThrown, error_} = await test(name, job.test + calling);
    all.forEach(report);
    // A failed assertion that stopped the tests is reported already, under its line.
    if (isThrown && !(error_ instanceof AssertionError && all.some(result => !result.passed))) report(explained(name, error_));
    else if (swallowed !== undefined) report(ownFailure(name));
    else {
      const isJudged = judges(job.test);
      const count = await cases(job.test);
      if (!all.length && !count) {
        report({name, passed: isJudged, message: isJudged ? '' : NOTHING, kind: isJudged ? 'passed' : 'error'});
      }
    }
  } else {
    report({name: String(job.kind), passed: false, message: `tests of the kind ${job.kind} are for Python`, kind: 'error'});
  }
  if (hasPassed && !(isUsed && uses)) {
    const what = isUsed ? 'the tests never call the program' : 'the tests use nothing that the program defines';
    report({name: 'tests', passed: false, message: what + ', so nothing was judged', kind: 'error'});
  }
  say('E');
}
