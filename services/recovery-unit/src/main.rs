//! A crypto unit that may make random master keys and hand them, sealed, to the other members of
//! its manifest: the only backup of the master key. Its work is `crypto-unit`'s.

fn main() -> std::process::ExitCode {
    crypto_unit::boot::main(protocol::Role::RecoveryUnit)
}
