//! The `keyhelm` program: see `keyhelm --help`.

fn main() -> std::process::ExitCode {
    keyhelm::main()
}
