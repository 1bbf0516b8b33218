// Runs once, before the snapshot.
{
  const {std, os} = globalThis;
  preloaded['/lib/lodash.js'] = load(std, '/lib/lodash.js');
  for (const name of ['std', 'os', 'bjson', 'scriptArgs', 'print']) delete globalThis[name];
  Object.defineProperty(globalThis, '__codeexec_enter', {configurable: true, value: async part => {
    delete globalThis.__codeexec_enter;
    const door = {in: std.open('/dev/door', 'r'), out: std.open('/dev/door', 'w')};
    await (part === 'judge' ? runJudge : runProgram)(door, std, os);
    std.out.flush();
    std.err.flush();
  }});
}
