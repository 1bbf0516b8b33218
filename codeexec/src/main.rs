//! x
fn main() -> anyhow::Result<()> {
    std::thread::Builder::new().stack_size(codeexec::sandbox::THREAD_STACK).spawn(codeexec::python::runtime::set_up)?.join().unwrap()
}
