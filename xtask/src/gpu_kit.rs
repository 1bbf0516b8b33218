//! `cargo xtask gpu-kit`: makes an archive that tests herd on a machine with a GPU and PyTorch, but without Rust.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail, ensure};

use crate::project;

/// Maximal size of the archive in bytes.
const LIMIT: u64 = 60_000_000;

/// The models of the kit: name, width, layers.
const MODELS: [(&str, u32, u32); 2] = [("tiny-64", 64, 2), ("tiny-128", 128, 4)];

/// Builds the programs and writes `target/gpu-kit.tar.gz`.
pub fn make() -> anyhow::Result<()> {
    project::run(&mut project::cargo(["build", "--workspace", "--bin", "herd", "--bin", "gpu-kernels"]))?;
    let folder = project::target().join("gpu-kit");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot clear {}", folder.display()))?;
    }
    copy(&project::root().join("xtask/kit"), &folder)?;
    fs::create_dir_all(folder.join("bin"))?;
    for name in ["herd", "gpu-kernels"] {
        let program = folder.join("bin").join(name);
        fs::copy(project::binary(name), &program).with_context(|| format!("cannot copy {name}"))?;
        project::run(Command::new("strip").arg(&program)).context("strip (of binutils) makes the programs small")?;
    }
    for (name, hidden, layers) in MODELS {
        let output = folder.join("models").join(name);
        let mut make = Command::new(project::binary("herd"));
        make.args(["model", "new", "--context", "1024"]);
        make.args(["--hidden", &hidden.to_string(), "--layers", &layers.to_string()]).arg("--output").arg(output);
        project::run(&mut make)?;
    }
    let commit = Command::new("git").args(["describe", "--always", "--dirty"]).current_dir(project::root()).output();
    let commit = commit.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    fs::write(folder.join("COMMIT"), format!("{commit}\n"))?;
    let archive = project::target().join("gpu-kit.tar.gz");
    let mut tar = Command::new("tar");
    tar.arg("-czf").arg(&archive).arg("-C").arg(project::target()).arg("gpu-kit");
    project::run(&mut tar)?;
    let bytes = fs::metadata(&archive)?.len();
    ensure!(bytes < LIMIT, "{} has {bytes} bytes, more than {LIMIT}", archive.display());
    println!("\n{}: {:.1} MB", archive.display(), bytes as f64 / 1e6);
    println!(
        "On the machine with the GPU: tar xf gpu-kit.tar.gz && cd gpu-kit && ./run --part 1 (to 9), then ./run --table"
    );
    Ok(())
}

/// Copies a folder without the files that Python generates.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let (name, target) = (entry.file_name(), to.join(entry.file_name()));
        if name == "__pycache__" || name == "results" {
            continue;
        }
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else if entry.file_type()?.is_file() {
            fs::copy(entry.path(), target)?;
        } else {
            bail!("{} is neither file nor folder", entry.path().display());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses every script, and lets the kit join a table of two rows, which needs no PyTorch.
    #[test]
    fn the_kits_scripts_are_read_and_join_a_table() {
        let program = "import ast, pathlib, sys\n\
                       folder = pathlib.Path(sys.argv[1])\n\
                       for file in [folder / 'run', *folder.glob('**/*.py')]: ast.parse(file.read_text(), str(file))\n\
                       sys.path.insert(0, str(folder))\n\
                       import marks, shapes\n\
                       row = {'part': 1, 'case': 'a', 'herd': 3, 'device': 'cpu', 'device name': 'processor'}\n\
                       print(round(shapes.products('135M') / 1e6, 1), marks.peak_of('NVIDIA H100 80GB HBM3'))\n\
                       print(marks.table([{**row, 'verdict': 'pass'}, {**row, 'verdict': 'fail: slower'}]))";
        let python =
            Command::new("python3").args(["-B", "-c", program]).arg(project::root().join("xtask/kit")).output();
        let Some(output) = test_support::require(python.map_err(|error| format!("no python3: {error}"))) else {
            return;
        };
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.starts_with("134.5 989\nDevices: cpu (processor). 1 fail, 1 pass.\n"), "{text}");
        assert!(text.contains("| 1 | a |  | 3 |  |  |  |  |  |  | fail: slower |"), "{text}");
    }

    #[test]
    fn the_kit_is_copied_without_pythons_files() {
        let folder = std::env::temp_dir().join(format!("herd-kit-{}", std::process::id()));
        let (from, to) = (folder.join("from"), folder.join("to"));
        fs::create_dir_all(from.join("parts/__pycache__")).unwrap();
        fs::write(from.join("run"), "a").unwrap();
        fs::write(from.join("parts/one.py"), "b").unwrap();
        fs::write(from.join("parts/__pycache__/one.pyc"), "c").unwrap();
        copy(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("parts/one.py")).unwrap(), "b");
        assert!(to.join("run").exists() && !to.join("parts/__pycache__").exists());
        fs::remove_dir_all(&folder).unwrap();
    }
}
