//! The door for keys.

fn main() -> std::process::ExitCode {
    kms_gateway::boot::main()
}
