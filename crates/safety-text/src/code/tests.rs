use super::*;

/// The ids and lines of the findings.
fn found(language: Language, code: &str) -> Vec<(String, usize)> {
    find(language, code).iter().map(|issue| (issue.rule.id.clone(), issue.line)).collect()
}

fn ids(language: Language, code: &str) -> Vec<String> {
    found(language, code).into_iter().map(|(id, _)| id).collect()
}

#[test]
fn every_rule_compiles_and_has_its_own_id() {
    let all = rules();
    let mut ids: Vec<&str> = all.iter().map(|(rule, _)| rule.id.as_str()).collect();
    ids.sort_unstable();
    assert!(ids.windows(2).all(|pair| pair[0] != pair[1]), "an id is used twice");
    assert!(all.len() > 140, "{}", all.len());
    for language in [
        Language::C,
        Language::Cpp,
        Language::Csharp,
        Language::Java,
        Language::JavaScript,
        Language::Kotlin,
        Language::ObjectiveC,
        Language::Php,
        Language::Python,
        Language::Ruby,
        Language::Rust,
        Language::Swift,
        Language::Xml,
        Language::Other,
    ] {
        assert_eq!(find(language, ""), [], "{language:?}");
    }
}

#[test]
fn regular_expressions_of_each_language() {
    for (language, code, id) in [
        (Language::C, "strcpy(to, from);", "c-bugprone-strcpy"),
        (Language::Cpp, "int n = 1;\nstrcpy(to, from);", "c-bugprone-strcpy"),
        (Language::Java, "m = MessageDigest.getInstance(\"MD5\");", "java-weak-md5-hashing"),
        (Language::Php, "$h = md5($x);", "php-risky-crypto-algorithm"),
        (Language::Python, "h = hashlib.sha1(x)", "py-insecure-sha1-hash"),
        (Language::Rust, "unsafe { f() }", "rust-unsafe"),
        (Language::Swift, "a[kCFStreamSSLValidatesCertificateChain] = NSNumber(value: false)", "swift-tls-no-chain"),
        (Language::Xml, "<a android:debuggable=\"true\"/>", "android-debuggable"),
        (Language::Other, "k = AIza01234567890123456789012345678901234", "key-gcp-api-key"),
        (Language::Other, "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkq", "key-private-key"),
    ] {
        assert_eq!(ids(language, code), [id], "{code}");
    }
    assert_eq!(found(Language::C, "\n\n strcpy (a, b);"), [("c-bugprone-strcpy".into(), 3)]);
    assert!(ids(Language::Other, "if line == \"-----BEGIN PRIVATE KEY-----\":").is_empty());
    // Computing the digest is the purpose of the function.
    assert!(ids(Language::Java, "public String stringToMd5(String s) { d.getInstance(\"MD5\"); }").is_empty());
    assert!(ids(Language::Java, "Optional<String> stringToMd5(String s) { d.getInstance(\"MD5\"); }").is_empty());
    assert_eq!(ids(Language::Java, "String key(String s) { d.getInstance(\"MD5\"); }"), ["java-weak-md5-hashing"]);
    assert!(ids(Language::Python, "def to_sha1(s):\n    return hashlib.sha1(s)").is_empty());
}

#[test]
fn python_by_its_tree() {
    for (code, id) in [
        ("eval(x)", "py-eval"),
        ("exec('import %s' % name)", "py-eval"),
        ("exec code in scope", "py-eval"),
        ("os.system('rm ' + path)", "py-os-command"),
        ("p = os.popen(f'ls {path}')", "py-os-command"),
        ("subprocess.call(cmd, shell=True)", "py-shell-true"),
        ("check_output(\n    'ls %s' % a,\n    stderr=STDOUT, shell=True)", "py-shell-true"),
        ("data = pickle.load(f)", "py-deserialize"),
        ("x = six.moves.cPickle.loads(b)", "py-deserialize"),
        ("x = jsonpickle.decode(b)", "py-deserialize"),
        ("yaml.load(f, Loader=yaml.Loader)", "py-yaml-load"),
        ("cur.execute('select * from t where a = %s' % a)", "py-sql"),
        ("cur.execute(f'drop table {t}')", "py-sql"),
        ("def f(c, a):\n    q = 'select ' + a\n    c.execute(q)", "py-sql"),
        ("db.password = 'tr0ub4dor'", "py-credential"),
        ("connect(user='a', password='tr0ub4dor')", "py-credential"),
        ("token = random.choice(letters)", "py-random-secret"),
        ("def make_password():\n    return random.random()", "py-random-secret"),
        ("x = random.random()", "py-random"),
        ("requests.get(u, verify=False)", "py-tls-unchecked"),
        ("c = AES.new(k, AES.MODE_ECB)", "py-weak-cipher"),
        ("iv = '0123456789abcdef'", "py-fixed-nonce"),
        ("n = tempfile.mktemp()", "py-mktemp"),
        ("app.run(debug=True)", "py-debug-server"),
        ("os.chmod(p, 0o777)", "py-world-writable"),
    ] {
        let all = ids(Language::Python, code);
        assert!(all.iter().any(|found| found == id), "{code}: {all:?}");
    }
}

#[test]
fn python_that_is_not_insecure() {
    for code in [
        "eval('1 + 1')",
        "def eval(x):\n    return eval(x)",
        "model.eval()",
        "# eval(x)\n'os.system(x)'",
        "os.system('ls ' 'l')",
        "os.system('a' + 'b')",
        "subprocess.call(['ls', path])",
        "subprocess.call(cmd, shell=False)",
        "subprocess.call('ls', shell=True)",
        "json.load(f)",
        "pickle.dumps(x)",
        "yaml.load(f, Loader=yaml.SafeLoader)",
        "yaml.safe_load(f)",
        "cur.execute('select * from t where a = %s', (a,))",
        "def f(c):\n    q = 'select 1'\n    c.execute(q)",
        "def g(a):\n    q = 'select ' + a\ndef f(c, q):\n    c.execute(q)",
        "executor.execute('run ' + name)",
        "password = ''",
        "password = input('Password: ')",
        "password = 'changeme'",
        "password_label = 'Your password'",
        "template = 'reset/password.html'",
        "rng = random.SystemRandom",
        "requests.get(u, verify=True)",
        "os.chmod(p, 0o644)",
        "eval(",
        "def broken(:\n  'unclosed",
    ] {
        let all: Vec<String> = find(Language::Python, code)
            .iter()
            .filter(|i| i.level > Level::Advice)
            .map(|i| i.rule.id.clone())
            .collect();
        assert!(all.is_empty(), "{code}: {all:?}");
    }
    // In a comment, a finding of a pattern is advice.
    let issues = find(Language::Python, "# use hashlib.md5() here\n");
    assert_eq!((issues[0].rule.level, issues[0].level), (Level::Warning, Level::Advice));
}

#[test]
fn javascript_by_its_tree() {
    for (code, id) in [
        ("var f = eval('(' + text + ')');", "js-eval"),
        ("x = new Function('a', 'return ' + body);", "js-function-constructor"),
        ("setTimeout('go(' + n + ')', 10);", "js-function-constructor"),
        ("const cp = require('child_process'); cp.exec('ls ' + d);", "js-command"),
        ("const {exec} = require('child_process'); exec(`ls ${d}`);", "js-command"),
        ("w.postMessage({a: 1}, '*');", "js-post-message"),
        ("window.addEventListener('message', function (e) { go(e.data); });", "js-message-origin"),
        ("e.innerHTML = '<b>' + name;", "js-html"),
        ("<div dangerouslySetInnerHTML={{__html: x}} />", "js-html"),
        ("const token = Math.random().toString(36);", "js-random-secret"),
        ("const x = Math.random();", "js-random"),
        ("fs.readFileSync(name);", "js-file-name"),
        ("const m = require('./' + name);", "js-require"),
        ("const r = new RegExp('^' + s);", "js-regexp"),
        ("if (token === given) go();", "js-timing"),
        ("b = new Buffer(n);", "js-buffer"),
        ("b = Buffer.allocUnsafe(n);", "js-unsafe-alloc"),
        ("n = b.readUInt16BE(at, true);", "js-no-assert"),
        ("const o = {rejectUnauthorized: false};", "js-tls-unchecked"),
        ("h = crypto.createHash('md5');", "js-weak-crypto"),
        ("db.query('select * from t where a = ' + a);", "js-sql"),
        ("db.query(`delete from t where a = ${a}`);", "js-sql"),
        ("const apiKey = 'abcdef0123456789';", "js-credential"),
        ("fetch('http://example.org/a', {});", "js-clear-text"),
    ] {
        let all = ids(Language::JavaScript, code);
        assert!(all.iter().any(|found| found == id), "{code}: {all:?}");
    }
}

#[test]
fn javascript_that_is_not_insecure() {
    for code in [
        "eval('1 + 1');",
        "// eval(x)\nconst s = 'eval(x)';",
        "setTimeout(go, 10);",
        "const m = /a/.exec(s);",
        "w.postMessage(m, 'https://example.org');",
        "window.addEventListener('message', (e) => { if (e.origin === o) go(e.data); });",
        "e.innerHTML = '';",
        "fs.readFileSync('a.txt');",
        "const m = require('./a');",
        "const r = new RegExp('^a');",
        "if (token === null) go();",
        "if (token === '.') go();",
        "b = Buffer.from(x);",
        "db.query('select * from t where a = ?', [a]);",
        "element.query('div' + name);",
        "fetch('https://example.org/');",
        "fetch('http://localhost:8080/');",
        "const password = process.env.PASSWORD;",
        "function broken( {",
    ] {
        assert_eq!(ids(Language::JavaScript, code), [] as [&str; 0], "{code}");
    }
}

#[test]
fn names_of_languages() {
    for (name, language) in [
        ("Python3", Language::Python),
        ("c++", Language::Cpp),
        (" JS ", Language::JavaScript),
        ("tsx", Language::JavaScript),
        ("brainfuck", Language::Other),
        ("", Language::Other),
    ] {
        assert_eq!(Language::named(name), language, "{name}");
    }
}

#[test]
fn large_and_nested_programs_end() {
    // Nesting beyond the examined depth causes neither a stack overflow nor an endless loop.
    let nested = format!("eval({}x{})", "(".repeat(20_000), ")".repeat(20_000));
    let _ = find(Language::Python, &nested);
    let sum = format!("cur.execute({})", vec!["a"; 20_000].join(" + "));
    let _ = find(Language::Python, &sum);
    let large = "eval(x)\n".repeat(TREE_BYTES / 4);
    assert!(find(Language::Python, &large).is_empty(), "read by the regular expressions only");
}
