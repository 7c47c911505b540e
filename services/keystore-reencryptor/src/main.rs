//! Streams the wrapped keys of a keystore through operational units into a new generation.

fn main() -> std::process::ExitCode {
    keystore_reencryptor::boot::main()
}
