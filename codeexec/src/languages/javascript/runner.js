// The APIs of test runners that tests use: node:test, and the common part of Jest, Mocha and Vitest.
function makeRunner(assertion, assert) {
  const cases = [];
  const root = {name: '', before: [], after: [], first: [], last: []};
  const suites = [root];
  const parts = args => ({name: typeof args[0] === 'string' ? args[0] : args[0]?.name ?? '', body: args.find(arg => typeof arg === 'function')});
  const test = (...args) => {
    const {name, body} = parts(args);
    const path = [...suites.slice(1).map(suite => suite.name), name].filter(Boolean).join(' > ') || 'test';
    cases.push({name: path, body, chain: [...suites]});
  };
  const describe = (...args) => {
    const {name, body} = parts(args);
    suites.push({name, before: [], after: [], first: [], last: []});
    try { return body?.(); } finally { suites.pop(); }
  };
  const skip = (...args) => cases.push({name: parts(args).name, isSkipped: true, chain: []});
  const each = of => table => (name, body) => {
    table.forEach((row, i) => of(`${name} (${i + 1})`, () => body(...(Array.isArray(row) ? row : [row]))));
  };
  test.skip = test.todo = describe.skip = skip;
  test.only = test;
  describe.only = describe;
  test.each = each(test);
  describe.each = each(describe);
  const hook = list => (...args) => { suites.at(-1)[list].push(args.find(arg => typeof arg === 'function')); };
  const names = {test, it: test, describe, suite: describe, context: describe, expect: makeExpect(assertion),
    beforeEach: hook('before'), afterEach: hook('after'), before: hook('first'), beforeAll: hook('first'),
    after: hook('last'), afterAll: hook('last')};
  const module = Object.assign((...args) => test(...args), names, {default: test, mock: {fn: f => f ?? (() => undefined)}, assert});
  /// Runs each registered test case by `run(name, action)`.
  const runAll = async run => {
    const started = new Set();
    for (const one of cases.splice(0)) {
      await run(one.name, async () => {
        if (one.isSkipped) throw new Error('the test was skipped');
        for (const suite of one.chain) {
          if (!started.has(suite)) { started.add(suite); for (const action of suite.first) await action(); }
        }
        for (const suite of one.chain) for (const action of suite.before) await action();
        try {
          const inner = {test: async (name, body) => body(inner), name: one.name, mock: module.mock, diagnostic() {}, after() {}};
          if (one.body && one.body.length > 0 && /^(async\s*)?\(?\s*done\b/.test(String(one.body))) {
            await new Promise((resolve, reject) => one.body(error => error ? reject(error) : resolve()));
          } else {
            await one.body?.(inner);
          }
        } finally {
          for (const suite of [...one.chain].reverse()) for (const action of suite.after) await action();
        }
      });
    }
  };
  return {names, module, runAll, count: () => cases.length};
}

function makeExpect(assertion) {
  const near = (a, b, digits = 2) => a === b || Math.abs(a - b) < 0.5 * 10 ** -digits;
  const deep = (a, b) => sameDeep(a, b, true);
  // As in Jest's toEqual, properties that are undefined are ignored.
  const loose = value => Array.isArray(value) ? value.map(loose)
    : value && Object.getPrototypeOf(value) === Object.prototype
      ? Object.fromEntries(Object.entries(value).filter(([, v]) => v !== undefined).map(([k, v]) => [k, loose(v)])) : value;
  const contains = (all, part) => typeof all === 'string' ? all.includes(part) : [...all].some(item => Object.is(item, part));
  const matches = (got, part) => part && typeof part === 'object' && !Array.isArray(part)
    ? got && typeof got === 'object' && Object.keys(part).every(key => matches(got[key], part[key])) : deep(got, part);
  const raised = got => { try { got(); } catch (error) { return {error}; } return undefined; };
  const fits = (caught, wanted) => {
    if (!caught) return false;
    const {error} = caught;
    if (wanted === undefined) return true;
    if (typeof wanted === 'string') return String(error?.message ?? error).includes(wanted);
    if (wanted instanceof RegExp) return wanted.test(String(error?.message ?? error));
    if (typeof wanted === 'function') return error instanceof wanted;
    return error?.message === wanted.message;
  };
  const rules = {
    toBe: Object.is, toEqual: (a, b) => deep(loose(a), loose(b)), toStrictEqual: deep, toBeCloseTo: near,
    toBeTruthy: a => Boolean(a), toBeFalsy: a => !a, toBeNull: a => a === null, toBeUndefined: a => a === undefined,
    toBeDefined: a => a !== undefined, toBeNaN: a => Number.isNaN(a), toContain: contains,
    toContainEqual: (all, part) => [...all].some(item => deep(item, part)), toHaveLength: (a, n) => a?.length === n,
    toBeGreaterThan: (a, b) => a > b, toBeGreaterThanOrEqual: (a, b) => a >= b, toBeLessThan: (a, b) => a < b,
    toBeLessThanOrEqual: (a, b) => a <= b, toMatch: (a, b) => b instanceof RegExp ? b.test(a) : String(a).includes(b),
    toMatchObject: matches, toBeInstanceOf: (a, b) => a instanceof b,
    toHaveProperty: (a, path, ...value) => {
      const found = String(path).split('.').reduce((at, key) => at == null ? undefined : at[key], a);
      return value.length ? deep(found, value[0]) : found !== undefined;
    },
    toThrow: (a, wanted) => fits(typeof a === 'function' ? raised(a) : {error: a}, wanted),
  };
  rules.toThrowError = rules.toThrow;
  const chain = (got, isNot, wait) => {
    const face = {};
    for (const [name, rule] of Object.entries(rules)) {
      const decide = (value, args) => {
        const message = `expect(${shown(value, 1)}).${isNot ? 'not.' : ''}${name}(${args.map(arg => shown(arg, 1)).join(', ')})`;
        assertion(Boolean(rule(value, ...args)) !== isNot, message, true);
      };
      face[name] = wait ? async (...args) => decide(await wait(got), args) : (...args) => decide(got, args);
    }
    return face;
  };
  return got => {
    const withNot = wait => Object.assign(chain(got, false, wait), {not: chain(got, true, wait)});
    return Object.assign(withNot(), {
      resolves: withNot(async promise => promise),
      rejects: withNot(async promise => {
        try { await promise; } catch (error) { return error; }
        assertion(false, 'the promise was not rejected', true);
      }),
    });
  };
}
