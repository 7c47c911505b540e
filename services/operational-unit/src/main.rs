//! A crypto unit that serves key operations and re-wraps pages of keys, and never exports. Its work
//! is `crypto-unit`'s.

fn main() -> std::process::ExitCode {
    crypto_unit::boot::main(protocol::Role::OperationalUnit)
}
