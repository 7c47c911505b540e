//! Takes rotation requests and drives rotations.

fn main() -> std::process::ExitCode {
    coordinator::boot::main()
}
