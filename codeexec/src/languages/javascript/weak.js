// Finds assertions whose result does not depend on the program. Such assertions judge nothing and are not counted.

/// The parts, split at commas, between the bracket at index `open` and its closing bracket, and the index after that bracket.
function partsAt(text, open) {
  const parts = [''];
  let depth = 0, quote = '';
  for (let i = open; i < text.length; i++) {
    const c = text[i];
    if (quote) {
      if (c === '\\') parts[parts.length - 1] += text[i++];
      else if (c === quote) quote = '';
    } else if ('"\'`'.includes(c)) {
      quote = c;
    } else if ('([{'.includes(c)) {
      if (++depth === 1) continue;
    } else if (')]}'.includes(c)) {
      if (--depth === 0) return {parts: parts.map(part => part.trim()), end: i + 1};
    } else if (c === ',' && depth === 1) {
      parts.push('');
      continue;
    }
    parts[parts.length - 1] += text[i];
  }
  return undefined;
}

/// Whether an expression has no names, so that it is the same in every run.
const isFixed = part => part !== '' && !/[\p{ID_Start}$_]/u.test(part
  .replace(/"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`$]*`/g, '0')
  .replace(/\b(?:true|false|null|undefined|NaN|Infinity|typeof|new|0x[\da-f]+|\d+n|\d+e\d+)\b/gi, '0'));

/// Whether an asserted expression does not depend on the program: a constant, a list, a function, `... || true`.
const isAlways = part => isFixed(part) || /\|\|\s*(?:true|1)$/.test(part) || /^(?:true|1)\s*\|\|/.test(part)
  || /^(?:async\s*)?(?:\([^()]*\)|[\w$]+)\s*=>/.test(part) || /^function\b/.test(part)
  || part.startsWith('[') && partsAt(part, 0)?.end === part.length;

/// Whether a line has assertions and all of them judge nothing.
function judgesNothing(line) {
  const found = [...line.matchAll(/\b(expect|assert(?:\s*\.\s*\w+)*|ok|equal|strictEqual|deepEqual|deepStrictEqual)\s*\(/g)];
  return found.length > 0 && found.every(match => {
    const given = partsAt(line, match.index + match[0].length - 1);
    if (!given) return false;
    let {parts} = given;
    if (match[1] === 'expect') {
      const behind = /^(?:\s*\.\s*\w+)+\s*\(/.exec(line.slice(given.end));
      const wanted = behind && partsAt(line, given.end + behind[0].length - 1);
      if (!wanted) return false;
      return isFixed(parts[0]) || wanted.parts[0] === parts[0];
    }
    const name = match[1].split('.').at(-1).trim();
    if (['assert', 'ok'].includes(name)) return isAlways(parts[0]);
    if (!/equal/i.test(name) || /^not/i.test(name)) return false;
    return parts.length > 1 && (isFixed(parts[0]) && isFixed(parts[1]) || parts[0] === parts[1]);
  });
}

/// Adds a `catch` to each `try` without one whose `finally` has a `return`, `break` or `continue`, which swallows exceptions.
function withWatchedFinally(text) {
  let out = text;
  for (const match of [...text.matchAll(/\}\s*finally\s*\{/g)].reverse()) {
    const body = partsAt(text, match.index + match[0].length - 1);
    const inside = body && text.slice(match.index + match[0].length, body.end - 1);
    if (!inside || !/\b(?:return|break|continue)\b/.test(inside)) continue;
    let depth = 0, open = match.index;
    for (; open >= 0; open--) {
      depth += (text[open] === '}') - (text[open] === '{');
      if (depth === 0) break;
    }
    if (!/\btry\s*$/.test(text.slice(0, open))) continue;
    out = out.slice(0, match.index + 1) + ' catch (__codeexec_error) {__codeexec_caught(__codeexec_error); throw __codeexec_error;} '
      + out.slice(match.index + 1);
  }
  return out;
}
