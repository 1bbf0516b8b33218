//! `cargo xtask`: set-up, demo, test.
fn main() -> anyhow::Result<()> {
    Ok(())
}
