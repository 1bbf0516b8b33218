//! x
fn main() -> anyhow::Result<()> {
    codeexec::python::runtime::set_up()
}
