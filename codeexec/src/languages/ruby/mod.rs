//! Ruby: CRuby 3.4 of the ruby.wasm project.

use anyhow::bail;
use pinned::NpmPackage;

use super::peer::Role;
use super::script::{Package, Script};
use crate::sandbox::{Ending, Instance, Stop};

const HARNESS: &str = concat!(
    include_str!("values.rb"),
    include_str!("program.rb"),
    include_str!("weak.rb"),
    include_str!("judge.rb"),
    include_str!("start.rb")
);

/// Ruby with its harness.
pub static RUBY: Script = Script {
    name: "ruby",
    aliases: &["rb"],
    interpreter: "CRuby 3.4",
    package: Package::Npm(NpmPackage {
        name: "@ruby/3.4-wasm-wasi",
        version: "2.10.1",
        sha256: "2e709bd9eddefe1c5d63e9fc0391a35cce4754e936d8a2f24b8582f6d5c2ea88",
    }),
    module: "package/dist/ruby+stdlib.wasm",
    arguments: &["ruby"],
    libraries: &[],
    files: &[("/lib/codeexec.rb", HARNESS)],
    prepare: Some((prepare, &[])),
    enter,
    syntax_errors: &["SyntaxError"],
};

/// Starts the interpreter and loads the harness.
fn prepare(instance: &mut Instance) -> anyhow::Result<()> {
    instance.call_named::<(), ()>("_initialize", ())?;
    // A list of strings in the component model's early ABI: addresses and lengths.
    let mut list = Vec::new();
    for text in ["ruby.wasm\0", "-EUTF-8\0", "-e_=0\0"] {
        list.extend(place(instance, text.as_bytes())?.to_le_bytes());
        list.extend((text.len() as u32).to_le_bytes());
    }
    let count = list.len() as u32 / 8;
    let list = place(instance, &list)?;
    instance.call_named::<_, ()>("ruby-init: func(args: list<string>) -> ()", (list, count))?;
    let state = eval(instance, "load '/lib/codeexec.rb'")?;
    let said = String::from_utf8_lossy(&instance.guest().stderr).into_owned();
    if state != 0 || !said.is_empty() {
        bail!("Ruby did not start as expected ({state}): {said}");
    }
    Ok(())
}

fn place(instance: &mut Instance, bytes: &[u8]) -> Result<u32, Ending> {
    let at = instance.call_named::<_, u32>("cabi_realloc", (0, 0, 1, bytes.len() as u32))?;
    if at == 0 || !instance.write(at, bytes) {
        return Err(Ending::Trap("no memory for the source".into()));
    }
    Ok(at)
}

/// Evaluates Ruby source; returns 0, or Ruby's nonzero state after an exception or an exit.
fn eval(instance: &mut Instance, text: &str) -> Result<i32, Ending> {
    let name = "rb-eval-string-protect: func(str: string) -> tuple<handle<rb-abi-value>, s32>";
    let at = place(instance, text.as_bytes())?;
    let result: u32 = instance.call_named(name, (at, text.len() as u32))?;
    Ok(instance.read_i32(result + 4).unwrap_or(-1))
}

/// Runs the harness. `srand` seeds Ruby's generator for this instance: the snapshot holds the same state for all.
fn enter(instance: &mut Instance, role: Role) -> Result<(), Ending> {
    let part = if role == Role::Judge { "judge" } else { "program" };
    let state = eval(instance, &format!("srand\nCODEEXEC.delete('{part}').run\n$stdout.flush"))?;
    if state != 0 {
        // The only exception that leaves the harness is an exit.
        return Err(Ending::Stopped(Stop::Exit(0)));
    }
    Ok(())
}
